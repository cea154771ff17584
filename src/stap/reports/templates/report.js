const DARKEST = { stage: 0.62, strip: 0.45 };  /* how dark a place without weight is */

/* A function from a frame and a word to its places. The bytes are weights, 255 the greatest of its frame. */
function readPlaces(clip, frames) {
  if (!clip.dataset.weights) return null;
  const bytes = Uint8Array.from(atob(clip.dataset.weights), (character) => character.charCodeAt(0));
  const { rows, columns, boxes } = JSON.parse(clip.dataset.places);
  const count = boxes ? boxes[0].length : rows * columns;
  const perWord = bytes.length > frames * count;
  return (frame, word) => {
    if (perWord && word < 0) return [];
    const start = ((perWord ? word * frames : 0) + frame) * count;
    return placesOf([...bytes.subarray(start, start + count)], rows, columns, boxes && boxes[frame]);
  };
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
