// The second half of the gallery's script: numbers, filters, cards, keys.
// Numbers: what they are called, where they range, and how instances are put in order by them.
const two = () => head.sides.length > 1;
const side = (k) => (two() ? ` of ${"AB"[k]}` : "");
const number = (value) => (value === null || Number.isNaN(value) ? "–" : (100 * value).toFixed(1).replace("-", "−"));
const estimated = (row, k) => row[IOU + 2 * k + 1] ?? NaN;
function quantities() {
  const found = {};
  head.sides.forEach((_, k) => { found[`iou${k || ""}`] = { name: `IoU${side(k)}`, low: 0, of: (row) => row[IOU + 2 * k] }; });
  if (two()) found.difference = { name: "difference A − B", low: -100, of: (row) => row[IOU] - row[IOU + 2] };
  head.sides.forEach((_, k) => {
    found[`estimate${k || ""}`] = { name: `${head.estimate}${side(k)}`, low: 0, of: (row) => estimated(row, k) };
    found[`over${k || ""}`] = { name: `${head.estimate} − IoU${side(k)}`, low: -100, of: (row) => estimated(row, k) - row[IOU + 2 * k] };
  });
  return found;
}
const ordersOf = (all) => [
  ...(two() ? [["most", "largest difference first", (row) => -Math.abs(all.difference.of(row))]] : []),
  ...Object.entries(all).flatMap(([key, one]) => [
    [`${key}-up`, `${one.name}, lowest first`, one.of], [`${key}-down`, `${one.name}, highest first`, (row) => -one.of(row)]]),
  ["file", "images in order", () => 0],
];
let measures = {}, orders = [];

// Filters stand in the address, behind #; the form shows them.
const FIELDS = ["category", "size", "prompt", "find", "of", "low", "high", "sort"];
function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of FIELDS) {
    form.elements[name].value = given.get(name) ?? form.elements[name].dataset.usual ?? "";
    if (form.elements[name].selectedIndex === -1) form.elements[name].selectedIndex = 0;
  }
  form.elements.whole.checked = given.has("whole");
  const at = Number(given.get("at") ?? -1);
  state = { at: Number.isInteger(at) && at < rows.length ? at : -1, open: given.has("open") };
  take();
}
function take() {
  for (const name of FIELDS) state[name] = form.elements[name].value;
  state.whole = form.elements.whole.checked;
}
function write() {
  const kept = new URLSearchParams();
  for (const name of FIELDS) if (state[name] !== (form.elements[name].dataset.usual ?? "")) kept.set(name, state[name]);
  if (state.whole) kept.set("whole", "1");
  if (state.at >= 0 && (state.open || state.at !== shown[0])) kept.set("at", state.at);
  if (state.open) kept.set("open", "1");
  history.replaceState(null, "", `#${kept}`);
}
const within = (value, low, high, top) => value >= low / 100 && (value < high / 100 || (high >= top && value <= high / 100));
function filter() {
  const words = state.find.trim().toLowerCase(), measure = measures[state.of];
  const fits = (row) => (state.category === "" || String(row[CATEGORY]) === state.category)
    && (state.size === "" || String(row[SIZE]) === state.size) && (state.prompt === "" || String(row[PROMPT]) === state.prompt)
    && (words === "" || String(row[OBJECT]) === words || String(row[0][0]) === words || row[0][1].toLowerCase().includes(words));
  const some = rows.map((_, index) => index).filter((index) => fits(rows[index]));
  const low = state.low === "" ? -Infinity : Number(state.low), high = state.high === "" ? Infinity : Number(state.high);
  const all = state.low === "" && state.high === "";
  histogram(some, measure);
  shown = some.filter((index) => all || within(measure.of(rows[index]), low, high, 100));
  const key = orders.find((one) => one[0] === state.sort)[2], keys = new Map(shown.map((index) => [index, key(rows[index])]));
  const last = (value) => (Number.isNaN(value) ? Infinity : value);
  shown.sort((one, other) => { const a = last(keys.get(one)), b = last(keys.get(other)); return a < b ? -1 : a > b ? 1 : one - other; });
  if (!shown.includes(state.at)) { state.at = shown[0] ?? -1; state.open = state.open && shown.length > 0; }
  say();
}
function say() {
  const mean = (of) => shown.reduce((sum, index) => sum + of(rows[index]), 0) / shown.length;
  const means = shown.length ? head.sides.map((_, k) => `mean IoU${side(k)} ${number(mean((row) => row[IOU + 2 * k]))}`) : [];
  by("said").textContent = [`${shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} instances`, ...means].join(", ");
}
function histogram(some, measure) {
  const bins = (100 - measure.low) / BIN, counts = new Array(bins).fill(0);
  const edge = (bin) => measure.low + BIN * bin;
  for (const index of some) {
    const value = measure.of(rows[index]);
    if (Number.isNaN(value)) continue;
    let bin = Math.min(bins - 1, Math.max(0, Math.floor((100 * value - measure.low) / BIN)));
    if (bin > 0 && value < edge(bin) / 100) bin--;
    if (bin + 1 < bins && value >= edge(bin + 1) / 100) bin++;
    counts[bin]++;
  }
  const most = Math.max(1, ...counts);
  by("histogram").replaceChildren(...counts.map((count, bin) => {
    const bar = document.createElement("button"), [low, high] = [edge(bin), edge(bin + 1)];
    const chosen = state.low === String(low) && state.high === String(high);
    bar.type = "button";
    bar.style.setProperty("--share", `${100 * count / most}%`);
    bar.setAttribute("aria-pressed", chosen);
    bar.setAttribute("aria-label", `${measure.name} ${low} to ${high}: ${count}`);
    bar.title = bar.getAttribute("aria-label");
    if (low % 20 === 0) { const label = document.createElement("span"); label.textContent = low; label.setAttribute("aria-hidden", "true"); bar.append(label); }
    bar.addEventListener("click", () => {
      form.elements.low.value = chosen ? "" : low; form.elements.high.value = chosen ? "" : high;
      changed();
      by("histogram").children[bin].focus();
    });
    return bar;
  }));
}

// The cards of one page, and one instance as large as the window.
const category = (row) => head.categories[row[CATEGORY]] ?? `category ${row[CATEGORY]}`;
const prompt = (row) => head.prompts[row[PROMPT]] + (row[REPEAT] ? ` #${row[REPEAT]}` : "");
const scores = (row) => (two() ? `A ${number(row[IOU])}, B ${number(row[IOU + 2])}` : `IoU ${number(row[IOU])}, ${head.estimate} ${number(estimated(row, 0))}`);
function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
function decoded(row, content) {
  const [, , height, width] = row[0], one = (counts) => (counts ? decode(counts, height, width) : null);
  const truth = one(content.truth), answers = content.counts.map(one);
  const points = content.points, corners = points.length ? [0, 1].map((k) => points.filter((_, at) => at % 3 === k)) : null;
  const asked = corners ? [Math.min(...corners[0]), Math.min(...corners[1]), Math.max(...corners[0]), Math.max(...corners[1])].map(Math.round) : null;
  const boxes = [truth, ...answers].map((found) => found && found.box);
  return { truth, answers, points, view: viewOf(boxes.some(Boolean) ? boxes : [asked], height, width) };
}
async function picture(canvas, index, mine) {
  const row = rows[index], [content, image] = await Promise.all([masksOf(index), photoOf(row)]);
  if (mine !== turn) return;
  const { truth, answers, view } = decoded(row, content);
  draw(canvas, image, row, view, [220, 180]);
  answers.forEach((one, k) => { if (one) lay(canvas, view, one, COLOURS[k], k === 0); });
  if (truth) lay(canvas, view, truth, TRUTH, !answers.some(Boolean));
}
function card(index, mine) {
  const row = rows[index], item = document.createElement("li"), button = element("button", "", { type: "button", "data-index": index });
  const canvas = element("canvas", "", { "aria-hidden": "true" }), words = element("span", "", { class: "words" });
  words.append(element("bdi", category(row)), `, ${head.sizes[row[SIZE]]}, `, element("bdi", prompt(row)), document.createElement("br"), element("b", scores(row)), document.createElement("br"), element("bdi", row[0][1]));
  button.append(canvas, words);
  if (index === state.at) button.setAttribute("aria-current", "true");
  button.addEventListener("click", () => { state.at = index; state.open = true; show(); });
  item.append(button);
  picture(canvas, index, mine).catch(complain);
  return item;
}
let drawn = "";
function show() {
  write();
  const place = shown.indexOf(state.at), page = Math.max(0, Math.floor(place / A_PAGE)), pages = Math.max(1, Math.ceil(shown.length / A_PAGE));
  by("page").textContent = `page ${(page + 1).toLocaleString("en")} of ${pages.toLocaleString("en")}`;
  by("before").disabled = page === 0;
  by("after").disabled = page + 1 >= pages;
  const these = shown.slice(A_PAGE * page, A_PAGE * (page + 1)), key = `${these} ${state.whole}`;
  if (key !== drawn) {
    drawn = key;
    const mine = ++turn;
    by("cards").replaceChildren(...these.map((index) => card(index, mine)));
  }
  for (const button of by("cards").querySelectorAll("button")) {
    if (Number(button.dataset.index) === state.at) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  if (state.open && state.at >= 0) large(place).catch(complain);
  else if (dialog.open) dialog.close();
}
function panel(words, image, row, view, layers, points = null) {
  const figure = document.createElement("figure"), canvas = element("canvas", "", { role: "img", "aria-label": words });
  draw(canvas, image, row, view, [720, 600]);
  for (const [one, colour] of layers) if (one) lay(canvas, view, one, colour, true);
  if (points) ask(canvas, view, points);
  figure.append(canvas, element("figcaption", words, { dir: "auto" }));
  return figure;
}
async function large(place) {
  const index = state.at, row = rows[index];
  if (!dialog.open) dialog.showModal();
  by("which").textContent = `${row[0][1]}: ${category(row)}, ${prompt(row)}`;
  by("back").disabled = place === 0;
  by("forth").disabled = place + 1 >= shown.length;
  const facts = [
    ["place", `${(place + 1).toLocaleString("en")} of ${shown.length.toLocaleString("en")} shown`], ["image", `${row[0][1]} (${row[0][0]}), ${row[0][3]} × ${row[0][2]} px`],
    ["object", row[OBJECT] ?? "none: no object of this category is touched"], ["category", `${category(row)} (${row[CATEGORY]})`],
    ["size", `${head.sizes[row[SIZE]]}, ${row[AREA].toLocaleString("en")} px`], ["prompt", prompt(row)],
    ...head.sides.flatMap((_, k) => [[`IoU${side(k)}`, number(row[IOU + 2 * k])], [`${head.estimate}${side(k)}`, number(estimated(row, k))]]),
    ...(two() ? [["difference A − B", number(row[IOU] - row[IOU + 2])]] : []),
  ];
  by("numbers").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", name), element("dd", value, { dir: "auto" })]));
  const [content, image] = await Promise.all([masksOf(index), photoOf(row)]);
  if (index !== state.at) return;
  const { truth, answers, points, view } = decoded(row, content);
  by("panels").replaceChildren(
    panel(`${image ? "photo" : "the photo cannot be read;"}${points.length ? `${image ? " and" : ""} prompt` : image ? "; the prompt's place is not known" : ""}`, image, row, view, [], points),
    panel(truth ? "truth" : "no truth here", image, row, view, [[truth, TRUTH]]),
    ...answers.map((one, k) => panel(`${two() ? `${"AB"[k]}, ${head.sides[k]}` : head.sides[k]}: IoU ${number(row[IOU + 2 * k])}${one ? "" : ", no mask is known"}`, image, row, view, [[one, COLOURS[k]]])),
  );
}
function step(by_) {
  if (!shown.length) return;
  const place = shown.indexOf(state.at);
  state.at = shown[Math.min(shown.length - 1, Math.max(0, place + by_))];
  show();
  if (!dialog.open) by("cards").querySelector("[aria-current]")?.focus();
}
function changed() { take(); state.at = -1; filter(); show(); }
function complain(error) { by("said").textContent = error.message; }

form.addEventListener("input", (event) => {
  if (event.target.name === "of") { form.elements.low.value = ""; form.elements.high.value = ""; }
  if (event.target.name === "whole") { take(); show(); } else changed();
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", (event) => {
  event.preventDefault();
  for (const name of FIELDS) form.elements[name].value = form.elements[name].dataset.usual ?? "";
  form.elements.whole.checked = false;
  changed();
});
by("before").addEventListener("click", () => page(-1));
by("after").addEventListener("click", () => page(1));
function page(way) {
  const now = Math.floor(shown.indexOf(state.at) / A_PAGE);
  state.at = shown[A_PAGE * (now + way)] ?? state.at;
  show();
}
by("back").addEventListener("click", () => step(-1));
by("forth").addEventListener("click", () => step(1));
by("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => {
  state.open = false;
  write();
  by("cards").querySelector("[aria-current]")?.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, summary") || event.ctrlKey || event.metaKey || event.altKey) return;
  const way = { ArrowRight: 1, j: 1, ArrowLeft: -1, k: -1 }[event.key];
  if (!way) return;
  event.preventDefault();
  step(way);
});
window.addEventListener("hashchange", () => { read(); filter(); show(); });

function choices(name, pairs) {
  form.elements[name].append(...pairs.map(([value, text]) => element("option", text, { value })));
}
async function start() {
  head = await load("head", 0);
  const pieces = await Promise.all(head.numbers.map((_, number_) => load("numbers", number_)));
  rows = pieces.flatMap((one) => one.rows.map((row) => [one.shared[row[0]], ...row.slice(1)]));
  head.numbers.forEach((_, number_) => arriving.delete(`numbers-${number_}`));
  const counts = new Map();
  for (const row of rows) counts.set(row[CATEGORY], (counts.get(row[CATEGORY]) ?? 0) + 1);
  const named = [...counts].map(([id, count]) => [id, `${head.categories[id] ?? `category ${id}`} (${count.toLocaleString("en")})`]);
  choices("category", named.sort((one, other) => one[1].localeCompare(other[1])));
  choices("size", head.sizes.map((name, k) => [k, name]));
  choices("prompt", head.prompts.map((name, k) => [k, name]));
  measures = quantities();
  orders = ordersOf(measures);
  choices("of", Object.entries(measures).map(([key, one]) => [key, one.name]));
  choices("sort", orders.map(([key, name]) => [key, name]));
  form.elements.of.dataset.usual = two() ? "difference" : "iou";
  form.elements.sort.dataset.usual = two() ? "most" : "iou-up";
  read();
  filter();
  show();
}
start().catch(complain);
