const at = (id) => document.getElementById(id);
const make = (tag, properties, ...inside) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...inside);  /* strings become text, whatever stands in them */
  return made;
};
const clock = (seconds) => {
  const whole = Math.floor(seconds), two = (number) => String(number).padStart(2, "0");
  return `${whole >= 3600 ? `${Math.floor(whole / 3600)}:` : ""}${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
};
const exact = (seconds) => `${clock(seconds)}.${Math.floor(10 * seconds + 1e-6) % 10}`;
const isStill = matchMedia("(prefers-reduced-motion: reduce)");
const video = document.querySelector("video"), canvas = document.querySelector(".screen canvas");
let shot = null;  /* that is open */

/* The answer of the server. What it refuses is an Error that says why. */
async function ask(path, settings) {
  const answer = await fetch(path, settings).catch((error) => {
    throw error.name === "AbortError" ? error : new Error("The server does not answer. Is `stap serve` still running?");
  });
  const content = await answer.json().catch(() => ({ error: `The server answered ${answer.status}.` }));
  if (!answer.ok) throw Object.assign(new Error(content.error), { status: answer.status });
  return content;
}

/* Search as you type: a moment after the last key; an older question is given up. */
let asked = new AbortController(), timer = 0;
async function look(path, sentence) {
  asked.abort();
  asked = new AbortController();
  try {
    const { shots } = await ask(path, { signal: asked.signal });
    at("found").replaceChildren(...shots.map(card));
    mark();
    at("said").textContent = sentence(shots.length);
    at("export").hidden = path !== "/api/corrections" || !shots.length;
  } catch (error) {
    if (error.name === "AbortError") return;
    at("found").replaceChildren();
    at("said").textContent = error.message;
  }
}
const counted = (number) => (number === 1 ? "1 shot" : `${number || "No"} shots`);
function search() {
  const words = at("q").value.trim();
  clearTimeout(timer);
  if (/[\p{L}\p{N}]/u.test(words)) {
    look(`/api/search?q=${encodeURIComponent(words)}`, (number) => `${counted(number)} found.${number ? "" : " Try other words."}`);
    return;
  }
  asked.abort();
  at("found").replaceChildren();
  at("export").hidden = true;
  at("said").textContent = words ? "There is no word in this. Type a sentence or a few words." : "Type a sentence or a few words.";
}
at("corrected").addEventListener("click", () => {
  at("q").value = "";
  look("/api/corrections", (number) => (number ? `${counted(number)} corrected.` : "No caption was corrected so far."));
});
at("q").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, 180); });
document.querySelector("[role=search]").addEventListener("submit", (event) => { event.preventDefault(); search(); });

function card(found) {
  const picture = make("img", { src: `/api/shots/${found.id}/picture`, alt: "", loading: "lazy" });
  picture.addEventListener("error", () => picture.replaceWith(make("span", { className: "none" })));
  const when = make("span", { className: "when" }, `${clock(found.start_seconds)} to ${clock(found.end_seconds)} · `, make("bdi", {}, found.name));
  const button = make("button", { type: "button", className: "go" }, picture,
    make("span", { className: "text" }, make("bdi", {}, found.caption || "(no caption)"), when));
  button.dataset.id = found.id;
  button.addEventListener("click", () => openShot(found.id));
  return make("li", {}, button);
}
at("found").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  const all = [...document.querySelectorAll(".go")];
  if (!step) return;
  event.preventDefault();
  all[all.indexOf(event.target) + step]?.focus();
});

/* A shot: the player stands at its start, the keyboard at its title. */
let wanted = "";
async function openShot(id) {
  wanted = id;
  const found = await ask(`/api/shots/${encodeURIComponent(id)}`).catch((error) => { at("said").textContent = error.message; });
  if (!found || wanted !== id) return;
  show(found);
  at("title").focus({ preventScroll: true });
  at("shot").scrollIntoView({ block: "nearest", behavior: isStill.matches ? "auto" : "smooth" });
}
function show(found) {
  const isOther = shot?.video !== found.video;
  shot = found;
  history.replaceState(null, "", `#${found.id}`);
  at("shot").hidden = false;
  at("both").classList.add("open");
  document.body.classList.add("reading");
  mark();
  at("title").replaceChildren(`${clock(found.start_seconds)} to ${clock(found.end_seconds)} · `, make("bdi", {}, found.name));
  play(isOther);
  showWords();
  at("text").value = found.caption;
  at("who").value ||= localStorage.getItem("who") || "";
  at("saved").textContent = "";
  showVersions();
}
function mark() {
  for (const button of document.querySelectorAll(".go")) {
    if (button.dataset.id === shot?.id) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
  }
}
function showVersions() {
  at("versions").querySelector("ol").replaceChildren(...shot.versions.map(({ text, author, when }) =>
    make("li", {}, make("bdi", {}, text), make("span", { className: "when" }, make("bdi", {}, author || "the model"),
      when && `, ${new Date(when).toLocaleString()}`))));
}
function play(isOther) {
  fail(shot.problem);
  if (shot.problem) { video.removeAttribute("src"); video.load(); return; }
  if (isOther) {
    video.src = `/api/videos/${shot.video}/file`;
    video.querySelector("track").src = `/api/videos/${shot.video}/captions.vtt`;
  }
  video.currentTime = shot.start_seconds;
  if (!isStill.matches) video.play().catch(() => {});
}
function fail(sentence) {
  at("failed").hidden = !sentence;
  at("failed").textContent = sentence || "";
  video.hidden = Boolean(sentence);
  at("still").hidden = !sentence;
  if (sentence) at("still").src = `/api/shots/${shot.id}/picture`;
}
video.addEventListener("error", () => {
  if (shot && !shot.problem) fail("This browser cannot play the file. Its captions can be read and corrected all the same.");
});
function closeShot() {
  const before = shot?.id;
  video.pause();
  shot = null;
  history.replaceState(null, "", location.pathname);
  at("shot").hidden = true;
  at("both").classList.remove("open");
  document.body.classList.remove("reading");
  mark();
  ([...document.querySelectorAll(".go")].find((one) => one.dataset.id === before) ?? at("q")).focus();
}
at("back").addEventListener("click", closeShot);
at("shot").addEventListener("keydown", (event) => { if (event.key === "Escape" && !document.fullscreenElement) closeShot(); });
at("others").addEventListener("click", async () => {
  const { video: content, name } = shot;
  at("q").value = "";
  await look(`/api/videos/${content}/shots`, (number) => `${counted(number)} of ${name}.`);
  closeShot();
});

/* Attention: the player shows the frame that a word attends to, and what weighs little in it is darkened. */
let before = null, kept = -1;  /* where the player was; the word that a click keeps, -1 none */
function showWords() {
  before = null;
  kept = -1;
  const buttons = shot.words.map(({ word }, index) => {
    const button = make("button", { type: "button", className: "word", tabIndex: index ? -1 : 0 }, word);
    button.setAttribute("aria-pressed", "false");
    for (const kind of ["mouseenter", "focus"]) button.addEventListener(kind, () => lookAt(index));
    button.addEventListener("click", () => { kept = kept === index ? -1 : index; lookAt(kept < 0 ? index : kept); });
    return button;
  });
  at("attention").hidden = !shot.words.some(({ attends_seconds }) => attends_seconds !== null);
  at("bars").replaceChildren(...shot.frame_seconds.map(() => make("span", { className: "bar" }, make("i"))));
  const row = at("words").cloneNode();  /* without the listeners of the words before */
  at("words").replaceWith(row);
  row.append(...buttons);
  row.addEventListener("mouseleave", rest);
  row.addEventListener("focusout", (event) => { if (!row.contains(event.relatedTarget)) rest(); });
  rove(row, buttons);
  lookAt(-1);
}
const rest = () => lookAt(kept);
function lookAt(index) {
  const word = shot?.words[index];
  document.querySelectorAll("#words .word").forEach((button, number) => {
    button.classList.toggle("on", number === index);
    button.setAttribute("aria-pressed", String(number === kept));
  });
  const most = Math.max(1, ...(word?.frames ?? []));
  document.querySelectorAll("#bars i").forEach((bar, number) => bar.style.setProperty("height", `${100 * (word?.frames[number] ?? 0) / most}%`));
  const isSomewhere = word && word.attends_seconds !== null;
  at("says").textContent = isSomewhere ? `“${word.word}” looks most at ${exact(word.attends_seconds)}.` : "";
  if (isSomewhere && !video.hidden) {
    before ??= { seconds: video.currentTime, isPlaying: !video.paused };
    video.pause();
    video.currentTime = word.attends_seconds;
  } else if (before) {
    video.currentTime = before.seconds;
    if (before.isPlaying) video.play().catch(() => {});
    before = null;
  }
  draw(isSomewhere && !video.hidden ? word : null);
}
function draw(word) {
  const { clientWidth, clientHeight, videoWidth, videoHeight } = video;
  const scale = Math.min(clientWidth / videoWidth, clientHeight / videoHeight) || 0;
  const [width, height] = [Math.round(videoWidth * scale), Math.round(videoHeight * scale)];
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px`, left: `${(clientWidth - width) / 2}px`, top: `${(clientHeight - height) / 2}px` });
  const whole = [{ box: [0, 0, 1, 1], strength: 1, sides: [true, true, true, true] }];
  paint(canvas, !word ? [] : word.places.length ? placesOf(word.places, shot.rows, shot.columns, null) : whole, width, height, 2, 0.62);
}
addEventListener("resize", rest);

at("correct").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { id, caption: seen } = shot, text = at("text").value, who = at("who").value;
  localStorage.setItem("who", who);
  at("saved").textContent = "Saving ...";
  try {
    const now = await ask(`/api/shots/${id}/caption`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ text, who, seen }),
    });
    said(now, "Saved as a new version.");
    const card = [...document.querySelectorAll(".go")].find((one) => one.dataset.id === id);
    card?.querySelector(".text bdi").replaceChildren(now.caption);
    video.querySelector("track").src = `/api/videos/${now.video}/captions.vtt?${now.versions.length}`;
  } catch (error) {
    said(error.status === 409 ? await ask(`/api/shots/${id}`).catch(() => null) : null, error.message);
  }
});
function said(now, sentence) {
  if (now && now.id !== shot?.id) return;  /* another one is open by now */
  if (now) { shot = now; showVersions(); }
  at("saved").textContent = sentence;
}

if (location.hash.length > 1) openShot(location.hash.slice(1));
