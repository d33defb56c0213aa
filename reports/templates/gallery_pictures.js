"use strict";
// The first half of the gallery's script: pieces, photos, masks and how they are drawn.
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
