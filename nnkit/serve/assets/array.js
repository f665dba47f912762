// Arrays of numbers, written as JSON.

import {complain, config, latest, later, post} from "/assets/net.js";
import {card, make, Says} from "/assets/dom.js";
import {Layers} from "/assets/layers.js";

function zeros([count, ...rest]) {
  return Array.from({length: count}, () => (rest.length ? zeros(rest) : 0));
}

export function arrayWidget(main) {
  const says = new Says(), layers = new Layers("The layers of the answer.");
  const ask = latest(async () => {
    let value;
    try { value = JSON.parse(box.value); } catch { complain(`write numbers of the shape ${config.shape.join(" × ")} as JSON`); return; }
    const found = await post("/layers", {inputs: [value], contributions: false});
    says.show(found);
    layers.show(found);
  });
  const box = make("textarea", {value: JSON.stringify(config.shape.length ? zeros(config.shape) : 0), "aria-label": "numbers as JSON", spellcheck: false, oninput: later(200, ask)});
  main.append(make("div", {className: "ask"}, card(`Numbers of the shape ${config.shape.join(" × ") || "one"}`, box), says.element), layers.element);
  ask();
}
