// A language model: a text that goes on token by token, each with its probability and with those that could have come.

import {complain, config, latest, lines, post} from "/assets/net.js";
import {Bars, card, make} from "/assets/dom.js";
import {colour} from "/assets/paint.js";
import {Layers} from "/assets/layers.js";

function visible(token) {
  return token.replaceAll("\n", "⏎").replaceAll("\t", "⇥") || "·";
}

export function continueWidget(main) {
  const layers = new Layers("Let the text go on, then ask what the network attends to.");
  const text = make("p", {className: "tokens", "aria-live": "off"}), status = make("p", {className: "hint", role: "status"});
  const number = (name, value, least, most, step) => make("input", {type: "number", value, min: least, max: most, step, "aria-label": name});
  const length = number("tokens to write", 120, 1, 2000, 1), temperature = number("temperature", 0.8, 0, 5, 0.1);
  const seed = number("seed", config.generate.seed ?? 0, 0, 2147483647, 1);
  let written = [], chosen = -1, control = null;

  const bars = new Bars((place) => { if (chosen >= 0) replace(chosen, written[chosen].candidates[place][0]); });
  const title = make("h2", {textContent: "What could come next"});
  const whole = () => box.value + written.map((one) => one.text).join("");
  // A token is at least a character: what is farther back than the network reads is left out.
  const read = () => [...whole()].slice(-(config.reads ?? 4000)).join("");

  function pick(place) {
    text.querySelectorAll(".chosen").forEach((one) => one.classList.remove("chosen"));
    chosen = place;
    const one = written[place];
    if (!one) return;
    text.children[place + 1].classList.add("chosen");
    title.textContent = `At token ${place + 1}, ${JSON.stringify(one.token)} was drawn of`;
    bars.show(one.candidates.map(([token, share]) => [visible(token), share]), {best: one.candidates.findIndex(([token]) => token === one.token)});
  }

  function add(line) {
    const place = written.length;
    written.push(line);
    const one = make("span", {textContent: line.text, tabIndex: 0, title: `${(100 * line.probability).toFixed(1)} %`,
      onclick: () => pick(place), onfocus: () => pick(place)});
    // By how many bits it surprised: 0 where it was certain, 10 for one in a thousand.
    one.style.background = colour(-0.6 * Math.min(1, -Math.log2(Math.max(line.probability, 1e-4)) / 10));
    text.append(one);
    pick(place);
  }

  // Takes another candidate at a place: what stood behind it goes.
  function replace(place, token) {
    const before = box.value + written.slice(0, place).map((one) => one.text).join("");
    box.value = before + token;
    restart();
    write(1);
  }

  function restart() {
    written = [];
    chosen = -1;
    text.replaceChildren(make("span", {className: "prompt", textContent: box.value}));
  }

  async function write(count) {
    control?.abort();
    const own = control = new AbortController();
    stop.disabled = false;
    status.textContent = "writing…";
    complain("");
    try {
      const asked = {prompt: read(), length: count, temperature: Number(temperature.value), seed: Number(seed.value) + written.length};
      for await (const line of lines("/generate", asked, own.signal)) {
        if (line.error) throw new Error(line.error);
        if (line.token !== undefined) add(line);
        else if (line.done) status.textContent = `${written.length} tokens; ended by ${line.done}`;
        else if (line.text) text.append(line.text);
      }
    } catch (error) {
      if (error.name === "AbortError") status.textContent = `${written.length} tokens; stopped`;
      else { status.textContent = ""; complain(error.message); }
    }
    if (control === own) stop.disabled = true;
  }

  const look = latest(async () => {
    const found = await post("/layers", {texts: [[...read()].slice(-400).join("")]});
    found.layers = found.layers.filter((layer) => layer.axes.length !== 2);
    layers.show(found);
  });

  const box = make("textarea", {"aria-label": "prompt", spellcheck: false, maxLength: 10000, oninput: restart});
  const stop = make("button", {type: "button", textContent: "Stop", disabled: true, onclick: () => control?.abort()});
  const buttons = make("div", {className: "buttons"},
    make("button", {type: "button", className: "main", textContent: "Continue", onclick: () => write(Math.max(1, Math.round(Number(length.value))))}),
    make("button", {type: "button", textContent: "One token", onclick: () => write(1)}), stop,
    make("button", {type: "button", textContent: "Attention", onclick: look}));
  const field = (name, input) => make("label", {className: "field"}, make("span", {textContent: name}), input);
  main.append(
    make("div", {className: "ask"}, card("The text begins with", box, buttons),
      make("section", {className: "card"}, title, bars.element),
      card("How it is drawn", make("div", {className: "fields"}, field("tokens", length), field("temperature (0: the most probable)", temperature), field("seed", seed)))),
    make("div", {className: "inside"}, card("The text, unlikely tokens in orange; choose one to see what else could have come", text, status), layers.element));
  main.classList.add("wide");
  restart();
  box.focus();
}
