"use strict";

const DARKEST = { stage: 0.62, strip: 0.45 };  /* how dark a place without weight is */

/* A function from a frame and a word to its places, the weightiest last: the box as fractions of the picture, the weight as a
   fraction of the greatest in the frame, and the sides of the outline, which only places have that weigh twice an even share.
   The bytes are weights, 255 the greatest of its frame. */
function readPlaces(clip, frames) {
  if (!clip.dataset.weights) return null;
  const bytes = Uint8Array.from(atob(clip.dataset.weights), (character) => character.charCodeAt(0));
  const { rows, columns, boxes } = JSON.parse(clip.dataset.places);
  const count = boxes ? boxes[0].length : rows * columns;
  const perWord = bytes.length > frames * count;
  const cell = (row, column) => [column / columns, row / rows, (column + 1) / columns, (row + 1) / rows];
  return (frame, word) => {
    if (perWord && word < 0) return [];
    const start = ((perWord ? word * frames : 0) + frame) * count;
    const weights = [...bytes.subarray(start, start + count)];
    const mean = weights.reduce((sum, weight) => sum + weight, 0) / count;
    const stands = (row, column) => row >= 0 && row < rows && column >= 0 && column < columns && weights[row * columns + column] >= 2 * mean;
    const found = weights.map((weight, place) => {
      const row = Math.floor(place / columns), column = place % columns;
      const box = boxes ? boxes[frame][place].map((value) => value / 1000) : cell(row, column);
      const sides = boxes ? [true, true, true, true]  /* left, top, right, bottom; cells side by side share one outline */
        : [!stands(row, column - 1), !stands(row - 1, column), !stands(row, column + 1), !stands(row + 1, column)];
      return { box, strength: weight / 255, sides: count > 1 && mean > 0 && weight >= 2 * mean ? sides : [] };
    });
    return found.filter(({ box }) => box[2] > box[0] && box[3] > box[1]).sort((a, b) => a.strength - b.strength);
  };
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

for (const clip of document.querySelectorAll(".clip")) {
  const words = [...clip.querySelectorAll(".word")];
  const frames = [...clip.querySelectorAll(".frame")];
  const caption = clip.querySelector(".caption");
  const strip = clip.querySelector(".strip");
  const stage = clip.querySelector(".stage");
  const says = clip.querySelector(".says");
  const play = clip.querySelector(".play");
  const places = readPlaces(clip, frames.length);
  const percents = words.map((word) => word.dataset.percents.split(" ").map(Number));
  const films = frames.map((frame) => frame.querySelector("img"));
  const chosen = { word: -1, frame: -1 };  /* kept by a click; -1 is none */
  let timer = null;

  const paintPlaces = (word, shown) => {
    const { width, height } = stage.getBoundingClientRect();
    const scale = Math.min(2, devicePixelRatio);
    paint(stage.querySelector("canvas"), places(shown, word), Math.round(width * scale), Math.round(height * scale), 2 * scale, DARKEST.stage);
    frames.forEach((frame, index) => {
      const canvas = frame.querySelector("canvas"), film = canvas.parentElement;
      paint(canvas, word < 0 ? [] : places(index, word), film.clientWidth * 2, film.clientHeight * 2, 2.5, DARKEST.strip);
    });
  };

  /* word, frame: numbers, -1 for none. A word shows its frames; a frame alone shows how much it counted for each word. */
  const show = (word, frame) => {
    const shares = word < 0 ? frames.map(() => 0) : percents[word];
    const most = Math.max(...shares, 0.001);
    const strongest = word < 0 ? -1 : Number(words[word].dataset.frame);
    const shown = frame >= 0 ? frame : strongest >= 0 ? strongest : Math.floor(frames.length / 2);
    const looking = word >= 0 || frame >= 0;
    const highest = Math.max(...percents.map((row) => row[shown]), 0.001);
    clip.classList.toggle("looking", word >= 0);
    words.forEach((each, index) => {
      each.classList.toggle("on", index === word);
      each.style.setProperty("--w", word < 0 && frame >= 0 ? (percents[index][frame] / highest).toFixed(3) : 0);
    });
    frames.forEach((each, index) => {
      each.style.setProperty("--b", (shares[index] / most).toFixed(3));
      each.classList.toggle("most", index === strongest);
      each.classList.toggle("shown", looking && index === shown);
    });
    stage.querySelector("img").src = films[shown].src;
    stage.querySelector(".time").textContent = looking ? frames[shown].querySelector(".time").textContent : "";
    says.textContent = word >= 0 ? words[word].dataset.says : "";
    if (places) { if (looking) paintPlaces(word, shown); else for (const canvas of clip.querySelectorAll("canvas")) paint(canvas, [], 1, 1); }
  };

  const rest = () => { if (!timer) show(chosen.word, chosen.frame); };
  const keep = (word, frame) => {
    Object.assign(chosen, { word, frame });
    words.forEach((each, index) => each.setAttribute("aria-pressed", String(index === word)));
    show(word, frame);
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    if (play) play.setAttribute("aria-pressed", "false");
  };
  const walk = () => {
    let index = 0;
    keep(0, -1);
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => {
      index += 1;
      if (index < words.length) keep(index, -1); else { stop(); keep(-1, -1); }
    }, 900);
  };

  words.forEach((word, index) => {
    for (const kind of ["mouseenter", "focus"]) word.addEventListener(kind, () => { if (!timer) show(index, -1); });
    word.addEventListener("click", () => {
      const again = !timer && chosen.word === index;
      stop();
      keep(again ? -1 : index, -1);
    });
  });
  frames.forEach((frame, index) => {
    for (const kind of ["mouseenter", "focus"]) frame.addEventListener(kind, () => { if (!timer) show(chosen.word, index); });
    frame.addEventListener("click", () => { stop(); keep(chosen.word, chosen.frame === index ? -1 : index); });
  });
  for (const part of [caption, strip]) {
    part.addEventListener("mouseleave", rest);
    part.addEventListener("focusout", (event) => { if (!part.contains(event.relatedTarget)) rest(); });
  }
  clip.addEventListener("keydown", (event) => { if (event.key === "Escape") { stop(); keep(-1, -1); } });
  rove(strip, frames);
  if (words.length) {
    rove(caption, [...words, play]);
    play.addEventListener("click", () => { if (timer) { stop(); keep(-1, -1); } else walk(); });
  }
  if (places) addEventListener("resize", rest);
  rest();
}
