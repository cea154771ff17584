"use strict";

/* The places of a frame, the weightiest last: the box as fractions of the picture, the weight as a fraction of the greatest in the
   frame, and the sides of the outline, which only places have that weigh twice an even share.
   weights: 255 the greatest.   boxes: in thousandths of the picture; null for the cells of a grid. */
function placesOf(weights, rows, columns, boxes) {
  const mean = weights.reduce((sum, weight) => sum + weight, 0) / weights.length;
  const cell = (row, column) => [column / columns, row / rows, (column + 1) / columns, (row + 1) / rows];
  const stands = (row, column) => row >= 0 && row < rows && column >= 0 && column < columns && weights[row * columns + column] >= 2 * mean;
  const found = weights.map((weight, place) => {
    const row = Math.floor(place / columns), column = place % columns;
    const box = boxes ? boxes[place].map((value) => value / 1000) : cell(row, column);
    const sides = boxes ? [true, true, true, true]  /* left, top, right, bottom; cells side by side share one outline */
      : [!stands(row, column - 1), !stands(row - 1, column), !stands(row, column + 1), !stands(row + 1, column)];
    return { box, strength: weight / 255, sides: weights.length > 1 && mean > 0 && weight >= 2 * mean ? sides : [] };
  });
  return found.filter(({ box }) => box[2] > box[0] && box[3] > box[1]).sort((a, b) => a.strength - b.strength);
}

/* Darken what weighs little, and outline what stands out. */
function paint(canvas, places, width, height, line, darkest) {
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d");
  if (!places.length) return;
  const corners = ([left, top, right, bottom]) => [left * width, top * height, right * width, bottom * height].map(Math.round);
  const shade = (strength, left, top, right, bottom) => {
    pen.clearRect(left, top, right - left, bottom - top);
    pen.fillStyle = `rgb(8 10 14 / ${(darkest * (1 - strength)).toFixed(3)})`;
    pen.fillRect(left, top, right - left, bottom - top);
  };
  shade(0, 0, 0, width, height);
  for (const { box, strength } of places) shade(strength, ...corners(box));
  const mark = getComputedStyle(canvas).getPropertyValue("--mark");
  pen.lineCap = "square";
  for (const [colour, thickness] of [["rgb(0 0 0 / .55)", 2 * line], [mark, line]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = thickness;
    for (const { box, sides } of places) {
      const inset = [line, line, width - line, height - line];
      const [left, top, right, bottom] = corners(box).map((value, side) => (side < 2 ? Math.max(value, inset[side]) : Math.min(value, inset[side])));
      const ends = [[left, top, left, bottom], [left, top, right, top], [right, top, right, bottom], [left, bottom, right, bottom]];
      pen.beginPath();
      sides.forEach((isDrawn, side) => {
        if (!isDrawn) return;
        pen.moveTo(ends[side][0], ends[side][1]);
        pen.lineTo(ends[side][2], ends[side][3]);
      });
      pen.stroke();
    }
  }
}

/* One stop of the Tab key for a row of buttons; arrows, Home and End move inside it. */
function rove(container, buttons) {
  for (const button of buttons) {
    button.addEventListener("focus", () => { for (const each of buttons) each.tabIndex = each === button ? 0 : -1; });
  }
  container.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(document.activeElement);
    const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 };
    if (!(event.key in steps) || at < 0) return;
    event.preventDefault();
    buttons[(steps[event.key] + buttons.length) % buttons.length].focus();
  });
}
