// Texts: their class and what each token adds; masked words; a text written from another with the alignment.

import {config, latest, later, lines, post} from "/assets/net.js";
import {Bars, card, make, Says} from "/assets/dom.js";
import {colour, levels} from "/assets/paint.js";
import {Layers} from "/assets/layers.js";

const WAIT = 180;

function area(label, value, changed) {
  return make("textarea", {value, "aria-label": label, spellcheck: false, maxLength: 10000, oninput: changed});
}

// Tokens with what each adds to the answer as their background.
function coloured(place, {names, target, ...packed}) {
  const values = levels(packed);
  place.replaceChildren(...names.map((name, at) => {
    const one = make("span", {textContent: name, title: `${(values[at] * packed.strongest).toPrecision(3)} added to ${target}`});
    one.style.background = colour(values[at] * 0.8);
    return one;
  }));
}

export function classWidget(main) {
  const says = new Says(), layers = new Layers("Type a text, and the layers show what they make of it.");
  const tokens = make("p", {className: "tokens"}), legend = make("p", {className: "hint"});
  const ask = latest(async () => {
    const text = box.value;
    if (!text.trim()) { layers.clear(); says.clear(); tokens.replaceChildren(); return; }
    const found = await post("/layers", {texts: [text], contributions: true});
    says.show(found);
    if (found.contributions) {
      coloured(tokens, found.contributions);
      legend.replaceChildren(`for ${found.contributions.target}: `,
        make("span", {className: "legend"}, make("i", {className: "for"}), "speaks for it",
          make("i", {className: "against"}), "speaks against it"));
    }
    layers.show(found);
  });
  const box = area("text to classify", "", later(WAIT, ask));
  main.append(make("div", {className: "ask"}, card("Type or paste a text", box), says.element,
    card("What each token adds", tokens, legend)), layers.element);
  main.classList.add("wide");
  box.focus();
}

export function maskWidget(main) {
  const layers = new Layers(`Write ${config.mask} where a word is to be found.`);
  const filled = make("p", {className: "says long", role: "status", textContent: "–"});
  const found = make("div", {className: "fields"});
  const ask = latest(async () => {
    const prompt = box.value;
    if (!prompt.includes(config.mask)) { layers.clear(); filled.textContent = "–"; found.replaceChildren(); return; }
    for await (const line of lines("/generate", {prompt, top_k: 6})) {
      filled.textContent = line.text;
      found.replaceChildren(...line.hidden.map((candidates, place) => {
        const bars = new Bars((chosen) => take(place, candidates[chosen].token));
        bars.show(candidates.map(({token, probability}) => [token, probability]), {best: 0});
        return card(`${config.mask} ${place + 1}`, bars.element);
      }));
    }
    layers.show(await post("/layers", {texts: [prompt]}));
  });
  // Puts a candidate in the place of a mask.
  const take = (place, token) => {
    const parts = box.value.split(config.mask);
    const whole = parts.reduce((text, part, at) => text + (at - 1 === place ? token.replace(/^##/, "") : config.mask) + part);
    box.value = whole;
    ask();
  };
  const box = area(`text with ${config.mask}`, "", later(WAIT, ask));
  const insert = make("button", {type: "button", textContent: `Insert ${config.mask}`, onclick: () => {
    box.setRangeText(config.mask, box.selectionStart, box.selectionEnd, "end");
    box.focus();
    ask();
  }});
  main.append(make("div", {className: "ask"}, card("A text with masked words", box, make("div", {className: "buttons"}, insert)),
    card("Filled in", filled), found), layers.element);
  main.classList.add("wide");
  box.focus();
}

export function pairWidget(main) {
  const says = new Says("The network writes"), layers = new Layers("Type a text: what is written from it, and how they align.");
  const ask = latest(async () => {
    const text = box.value;
    if (!text.trim()) { layers.clear(); says.text.textContent = "–"; return; }
    const found = await post("/layers", {texts: [text]});
    says.show(found);
    // The alignment stands first.
    found.attention.sort((a, b) => Number(b.name.includes("cross")) - Number(a.name.includes("cross")));
    found.layers = found.layers.filter((layer) => layer.axes.length !== 2);
    layers.show(found);
  });
  const box = area("text to write from", "", later(WAIT + 120, ask));
  main.append(make("div", {className: "ask"}, card("Type or paste a text", box), says.element), layers.element);
  main.classList.add("wide");
  box.focus();
}
