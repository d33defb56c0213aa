"use strict";
// Sorting: a heading's button sorts the rows of its table by our numbers; what has none comes last.
function compare(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const x = Number(a), y = Number(b);
  return sign * (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y);
}
for (const button of document.querySelectorAll("button.sort")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th"), table = heading.closest("table"), body = table.tBodies[0];
    const upwards = heading.getAttribute("aria-sort") === "descending";
    for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", upwards ? "ascending" : "descending");
    const key = (row) => row.cells[heading.cellIndex].dataset.sort ?? row.cells[heading.cellIndex].textContent.trim();
    const rows = [...body.rows].map((row, place) => ({ row, place, key: key(row) }));
    rows.sort((one, two) => compare(one.key, two.key, upwards ? 1 : -1) || one.place - two.place);
    body.append(...rows.map((one) => one.row));
    document.getElementById("said").textContent =
      `Sorted by ${button.textContent}, ${upwards ? "smallest" : "largest"} first.`;
  });
}
// Enlarging: a figure's button shows it as large as the window; Escape or the other button closes.
const dialog = document.getElementById("large"), room = dialog.querySelector(".room");
for (const button of document.querySelectorAll("button.enlarge")) {
  button.addEventListener("click", () => {
    room.replaceChildren(button.closest("figure").querySelector(".plate").cloneNode(true));
    dialog.setAttribute("aria-label", button.dataset.what);
    dialog.showModal();
  });
}
dialog.querySelector("button.close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => room.replaceChildren());
