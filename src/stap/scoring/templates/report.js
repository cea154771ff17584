"use strict";
for (const clip of document.querySelectorAll(".clip")) {
  const words = [...clip.querySelectorAll(".word")];
  if (!words.length) continue;
  const caption = clip.querySelector(".caption");
  const frames = [...clip.querySelectorAll(".strip li")];
  const stage = clip.querySelector(".stage");
  const says = clip.querySelector(".says");
  const play = clip.querySelector(".play");
  const beginning = Math.floor(frames.length / 2);
  let kept = null;
  let timer = null;

  const showFrame = (index, looking) => {
    const part = (parent, name) => parent.querySelector(name);
    part(stage, ".picture").src = part(frames[index], ".picture").src;
    const heat = part(frames[index], ".heat");
    part(stage, ".heat").hidden = !(looking && heat);
    if (heat) part(stage, ".heat").src = heat.src;
    part(stage, ".time").textContent = looking ? part(frames[index], ".time").textContent : "";
  };

  const show = (word) => {
    clip.classList.toggle("looking", word !== null);
    for (const each of words) each.classList.toggle("on", each === word);
    says.textContent = word ? word.dataset.says : "";
    const percents = word ? word.dataset.percents.split(" ").map(Number) : frames.map(() => 0);
    const most = Math.max(...percents, 0.001);
    const strongest = word ? Number(word.dataset.frame) : beginning;
    frames.forEach((frame, index) => {
      frame.style.setProperty("--b", (percents[index] / most).toFixed(3));
      frame.classList.toggle("most", word !== null && index === strongest);
    });
    showFrame(strongest, word !== null);
  };

  const keep = (word) => {
    kept = word;
    for (const each of words) each.setAttribute("aria-pressed", String(each === word));
    show(word);
  };

  const stop = () => { clearInterval(timer); timer = null; };

  const walk = () => {
    stop();
    let index = 0;
    keep(words[0]);
    timer = setInterval(() => {
      index += 1;
      if (index === words.length) { stop(); keep(null); } else keep(words[index]);
    }, 900);
  };

  const buttons = [...words, play];
  for (const word of words) {
    word.addEventListener("mouseenter", () => { if (!timer) show(word); });
    word.addEventListener("focus", () => { if (!timer) show(word); });
    word.addEventListener("click", () => { stop(); keep(kept === word ? null : word); });
  }
  for (const button of buttons) {
    button.addEventListener("focus", () => { for (const each of buttons) each.tabIndex = each === button ? 0 : -1; });
  }
  caption.addEventListener("mouseleave", () => { if (!timer) show(kept); });
  caption.addEventListener("focusout", (event) => { if (!timer && !caption.contains(event.relatedTarget)) show(kept); });
  caption.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(document.activeElement);
    const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 };
    if (event.key === "Escape") { stop(); keep(null); }
    if (!(event.key in steps) || at < 0) return;
    event.preventDefault();
    buttons[(steps[event.key] + buttons.length) % buttons.length].focus();
  });
  play.addEventListener("click", () => { if (timer) { stop(); keep(null); } else walk(); });
}
