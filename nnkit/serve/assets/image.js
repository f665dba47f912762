// Images: draw or drop one, and every layer lights up.

import {config, latest, later, post} from "/assets/net.js";
import {card, make, Says} from "/assets/dom.js";
import {bytes, colour, levels} from "/assets/paint.js";
import {Layers} from "/assets/layers.js";
import {Pad} from "/assets/pad.js";

const KEPT = 500;

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

// Puts pixels (height, width, 3) on a canvas of their size.
function pixelled(canvas, {shape: [height, width], pixels}) {
  Object.assign(canvas, {width, height});
  const context = canvas.getContext("2d"), image = context.createImageData(width, height), found = bytes(pixels);
  for (let place = 0; place < width * height; place++) {
    image.data.set(found.subarray(3 * place, 3 * place + 3), 4 * place);
    image.data[4 * place + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

export function imageWidget(main) {
  // The time of the first stroke that no layer shows yet, and how long each took until the screen showed it.
  let since = null;
  const latencies = globalThis.nnkitLatencies = [];
  const layers = new Layers("Draw, and every layer of the network lights up here.");
  const says = new Says(), got = make("canvas", {role: "img", "aria-label": "what the network gets"});
  const why = make("canvas", {role: "img", "aria-label": "which pixels speak for the answer"});
  const whyText = make("p", {className: "hint"}), speed = make("p", {className: "latency"});

  const ask = latest(async () => {
    if (pad.isBlank) return;
    const began = since;
    since = null;
    const found = await post("/layers", {images: [pad.content()]});
    if (pad.isBlank) return;
    says.show(found);
    pixelled(got, found.input);
    layers.show(found);
    why.getContext("2d").clearRect(0, 0, why.width, why.height);
    explain();
    if (began === null) return;
    // The next frame shows what was drawn; behind it, the screen does.
    requestAnimationFrame(() => setTimeout(() => {
      latencies.push(performance.now() - began);
      if (latencies.length > KEPT) latencies.shift();
      speed.textContent = `from a stroke to lit layers: ${median(latencies).toFixed(0)} ms (median of ${latencies.length})`;
    }));
  });

  const explain = later(250, latest(async () => {
    if (pad.isBlank) return;
    const {contributions} = await post("/layers", {images: [pad.content()], contributions: true});
    if (!contributions || pad.isBlank) return;
    const [height, width] = contributions.shape, values = levels(contributions);
    Object.assign(why, {width, height});
    const context = why.getContext("2d");
    values.forEach((value, place) => {
      context.fillStyle = colour(value);
      context.fillRect(place % width, Math.floor(place / width), 1, 1);
    });
    whyText.replaceChildren(`which pixels speak for ${contributions.target}: `,
      make("span", {className: "legend"}, make("i", {className: "for"}), "for", make("i", {className: "against"}), "against"));
  }));

  const pad = new Pad((time) => {
    if (time === null) {
      layers.clear();
      says.clear();
      for (const canvas of [got, why]) canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
      whyText.textContent = "";
      return;
    }
    since ??= time;
    ask();
  });
  const choose = make("input", {type: "file", accept: "image/*", "aria-label": "choose a picture", onchange: () => {
    if (choose.files.length) pad.take(choose.files[0]);
    choose.value = "";
  }});
  if (config.channels === 3) pad.hint.textContent = "drop a picture, or draw";
  const size = `${config.width} × ${config.height}`;
  const buttons = make("div", {className: "buttons"},
    make("button", {type: "button", textContent: "Clear", onclick: () => pad.clear()}),
    make("label", {className: "file"}, choose, "Choose a picture…"));
  const gets = make("section", {className: "card gets-card"}, make("h2", {textContent: `The network gets ${size}`}),
    make("div", {className: "gets"}, got, why, whyText));
  const first = card("Draw, drop or paste a picture", pad.element, buttons);
  first.classList.add("first");
  main.classList.add("drawn");
  main.append(make("div", {className: "ask"}, first, says.element, gets, speed), layers.element);
}
