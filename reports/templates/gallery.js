"use strict";
// A row: photo, object, category, area, size, prompt, repeat, then IoU and estimate of each side. A photo: id, name, height, width, file.
const OBJECT = 1, CATEGORY = 2, AREA = 3, SIZE = 4, PROMPT = 5, REPEAT = 6, IOU = 7;
const A_PAGE = 48, BIN = 5, MARGIN = 0.25, SMALLEST = 64, KEPT = 400;
const COLOURS = [[64, 120, 255], [255, 64, 64]], TRUTH = [255, 230, 64];
const by = (id) => document.getElementById(id);
const form = by("filters"), dialog = by("large");
let head, rows = [], shown = [], state = {}, turn = 0;

// Pieces are scripts that call piece(); one is loaded when it is asked for first, and the oldest masks are forgotten.
const arriving = new Map();
function piece(kind, number, content) { arriving.get(`${kind}-${number}`).keep(content); }
function load(kind, number) {
  const key = `${kind}-${number}`;
  if (!arriving.has(key)) {
    const entry = {};
    entry.content = new Promise((resolve, reject) => {
      const script = document.createElement("script"), name = kind === "head" ? "head" : `${kind}-${String(number).padStart(4, "0")}`;
      entry.keep = resolve;
      script.src = `pieces/${name}.js`;
      script.onload = () => script.remove();
      script.onerror = () => reject(new Error(`pieces/${name}.js cannot be read: keep this page together with its folders`));
      document.head.append(script);
    });
    arriving.set(key, entry);
    const old = [...arriving.keys()].filter((one) => one.startsWith("masks-"));
    if (old.length > KEPT) arriving.delete(old[0]);
  }
  return arriving.get(key).content;
}
async function masksOf(index) {
  let number = 0, first = 0;
  while (index >= first + head.masks[number]) first += head.masks[number++];
  const found = await load("masks", number), [truth, counts, points] = found.rows[index - first];
  return { truth: truth < 0 ? "" : found.shared[truth], counts, points };
}
const photos = new Map();
function photoOf(row) {
  const file = row[0][4];
  if (!photos.has(file)) {
    photos.set(file, new Promise((resolve) => {
      if (!file) return resolve(null);
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => resolve(null);
      image.src = `photos/${encodeURIComponent(file)}`;
    }));
    if (photos.size > 3 * A_PAGE) photos.delete(photos.keys().next().value);
  }
  return photos.get(file);
}

// Masks: COCO's compressed run lengths, column by column, background first.
function decode(counts, height, width) {
  const mask = new Uint8Array(height * width), runs = [];
  let box = null;
  for (let at = 0, place = 0; at < counts.length;) {
    let run = 0, shift = 0, code;
    do { code = counts.charCodeAt(at++) - 48; run |= (code & 31) << shift; shift += 5; } while (code & 32);
    if (code & 16) run |= -1 << shift;
    if (runs.length > 2) run += runs[runs.length - 2];
    if (runs.push(run) % 2 === 0 && run) {
      mask.fill(1, place, place + run);
      const left = Math.floor(place / height), right = Math.floor((place + run - 1) / height);
      const top = left === right ? place % height : 0, bottom = left === right ? (place + run - 1) % height : height - 1;
      box = box ? [Math.min(box[0], left), Math.min(box[1], top), Math.max(box[2], right + 1), Math.max(box[3], bottom + 1)] : [left, top, right + 1, bottom + 1];
    }
    place += run;
  }
  return { mask, box, height, width };
}
function stretch(first, last, side) {
  const length = Math.min(side, Math.max(SMALLEST, last - first));
  return [Math.min(Math.max(0, Math.floor((first + last - length) / 2)), side - length), length];
}
function viewOf(boxes, height, width) {
  const known = boxes.filter(Boolean);
  if (state.whole || !known.length) return [0, 0, width, height];
  const ends = [0, 1].map((k) => Math.min(...known.map((box) => box[k]))).concat([2, 3].map((k) => Math.max(...known.map((box) => box[k]))));
  const room = Math.round(MARGIN * Math.max(ends[2] - ends[0], ends[3] - ends[1]));
  const [x, w] = stretch(ends[0] - room, ends[2] + room, width), [y, h] = stretch(ends[1] - room, ends[3] + room, height);
  return [x, y, w, h];
}
function lay(canvas, [x0, y0, w, h], one, colour, filled) {
  const cover = document.createElement("canvas"), { width, height } = canvas;
  cover.width = width; cover.height = height;
  const to = cover.getContext("2d"), pixels = to.createImageData(width, height);
  const rowOf = Int32Array.from({ length: height }, (_, y) => Math.floor(y0 + (y + 0.5) * h / height));
  const columnOf = Int32Array.from({ length: width }, (_, x) => one.height * Math.floor(x0 + (x + 0.5) * w / width));
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && one.mask[columnOf[x] + rowOf[y]];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    if (!inside(x, y)) continue;
    const edge = !(inside(x - 1, y) && inside(x + 1, y) && inside(x, y - 1) && inside(x, y + 1));
    pixels.data.set([...colour, edge ? 255 : filled ? 115 : 0], 4 * (y * width + x));
  }
  to.putImageData(pixels, 0, 0);
  canvas.getContext("2d").drawImage(cover, 0, 0);
}
function ask(canvas, [x0, y0, w], points) {
  const to = canvas.getContext("2d"), scale = canvas.width / w, at = (k) => [(points[k] - x0) * scale, (points[k + 1] - y0) * scale];
  const thick = Math.max(2, canvas.width / 240);
  to.lineWidth = thick; to.strokeStyle = "#fff";
  for (let k = 0; k + 2 < points.length; k += 3) {
    const [x, y] = at(k), label = points[k + 2];
    if (label === 2) {
      const [right, bottom] = at(k + 3);
      to.shadowColor = "#000"; to.shadowBlur = 2; to.strokeRect(x, y, right - x, bottom - y); to.shadowBlur = 0;
    } else if (label < 2) {
      to.fillStyle = label ? "#3cd25a" : "#eb3c3c";
      to.beginPath(); to.arc(x, y, 3 * thick, 0, 2 * Math.PI); to.fill(); to.stroke();
    }
  }
}
function draw(canvas, image, row, view, room) {
  const [x, y, w, h] = view, scale = Math.min(room[0] / w, room[1] / h);
  canvas.width = Math.max(1, Math.round(w * scale)); canvas.height = Math.max(1, Math.round(h * scale));
  if (!image) return;
  const small = image.naturalWidth / row[0][3], low = image.naturalHeight / row[0][2];
  canvas.getContext("2d").drawImage(image, x * small, y * low, w * small, h * low, 0, 0, canvas.width, canvas.height);
}

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
    panel(`${image ? "photo" : "the photo cannot be read"}${points.length ? " and prompt" : image ? "; the prompt's place is not known" : ""}`, image, row, view, [], points),
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
