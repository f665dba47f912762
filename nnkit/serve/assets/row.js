// A table: a field for each column, and what each adds to the answer.

import {config, latest, later, post} from "/assets/net.js";
import {Bars, card, make, Says} from "/assets/dom.js";
import {levels} from "/assets/paint.js";
import {Layers} from "/assets/layers.js";

const WAIT = 60;

function rounded(value) {
  return Number(value.toPrecision(4));
}

export function rowWidget(main) {
  const says = new Says(), added = new Bars(), layers = new Layers("Fill in a row.");
  const target = make("h2", {textContent: "What each column adds"});
  const fields = new Map();
  const ask = latest(async () => {
    const row = {};
    for (const [name, read] of fields) {
      const value = read();
      row[name] = value === "" ? null : value;
    }
    const found = await post("/layers", {rows: [row], contributions: true});
    says.show(found);
    layers.show(found);
    if (found.contributions) {
      target.textContent = `What each column adds to ${found.contributions.target}`;
      const {names, strongest, ...packed} = found.contributions, values = levels(packed);
      const pairs = names.map((name, place) => [name, values[place] * strongest]);
      pairs.sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
      added.show(pairs.slice(0, 24), {shares: false});
    }
  });
  const changed = later(WAIT, ask);

  const inputs = config.columns.map((column) => {
    const name = make("span", {textContent: column.name});
    if (column.kind === "number") {
      const least = rounded(column.mean - 3 * column.std), most = rounded(column.mean + 3 * column.std);
      const step = 10 ** Math.floor(Math.log10((most - least || 1) / 100));
      const box = make("input", {type: "number", step: "any", "aria-label": column.name, value: rounded(column.median), oninput: () => { slider.value = box.value; changed(); }});
      const slider = make("input", {type: "range", min: least, max: most, step, "aria-label": `${column.name}, from ${least} to ${most}`,
        oninput: () => { box.value = rounded(Number(slider.value)); changed(); }});
      slider.value = box.value;
      fields.set(column.name, () => (box.value === "" ? "" : Number(box.value)));
      return make("label", {className: "field"}, name, slider, box);
    }
    const control = column.categories
      ? make("select", {oninput: changed}, ...column.categories.map((one) => make("option", {value: one, textContent: one || "(empty)"})))
      : make("input", {type: "text", placeholder: "a date, as in the training rows", oninput: changed});
    fields.set(column.name, () => control.value);
    return make("label", {className: "field"}, name, control);
  });
  main.append(make("div", {className: "ask"}, card("A row", make("div", {className: "fields"}, ...inputs))),
    make("div", {className: "inside"}, make("div", {className: "strips"}, says.element, make("section", {className: "card"}, target, added.element)), layers.element));
  ask();
}
