// Everything that was sent of the layers: maps as tiles, units on the stage, states and attention as heat maps.

import {heat, levels, onColours, tiles} from "/assets/paint.js";
import {make, plain} from "/assets/dom.js";
import {Stage} from "/assets/stage.js";

const NAMED = 40;

export class Layers {
  constructor(empty) {
    this.maps = make("div", {className: "strips"});
    this.stage = new Stage();
    this.heads = make("div", {className: "strips"});
    this.rest = make("div", {className: "strips"});
    this.empty = make("p", {className: "card empty", textContent: empty});
    this.element = make("section", {className: "inside", "aria-label": "what every layer does"},
      this.empty, this.maps, this.stage.element, this.heads, this.rest);
    this.parts = new Map();
    this.last = null;
    const again = () => this.last && this.show(this.last);
    addEventListener("resize", again);
    onColours(again);
  }

  show(found) {
    this.last = found;
    this.empty.hidden = true;
    const shown = new Set();
    for (const layer of found.layers) {
      if (layer.axes.length === 3) this.tiles(layer, this.maps, shown);
      else if (layer.axes.length === 2) this.states(layer, shown);
    }
    this.stage.show(found);
    for (const layer of found.attention) this.attention(layer, shown);
    for (const layer of found.gates) this.states(layer, shown);
    this.lens(found.lens, shown);
    for (const [name, part] of this.parts) if (!shown.has(name)) { part.element.remove(); this.parts.delete(name); }
    this.element.dataset.lit = String(Number(this.element.dataset.lit ?? 0) + 1);
  }

  clear() {
    this.last = null;
    for (const part of this.parts.values()) part.element.remove();
    this.parts.clear();
    this.stage.element.hidden = true;
    this.empty.hidden = false;
  }

  part(name, title, where, scroll = false) {
    let found = this.parts.get(name);
    if (!found) {
      const canvas = make("canvas", {role: "img"}), text = make("span"), number = make("output");
      const heading = make("h2", {}, make("b", {textContent: name}), text, number);
      const inner = scroll ? make("div", {className: "scroll"}, canvas) : canvas;
      found = {canvas, text, number, element: make("section", {className: "card layer"}, heading, inner)};
      where.append(found.element);
      this.parts.set(name, found);
    }
    found.text.textContent = title;
    found.canvas.setAttribute("aria-label", `${name}: ${title}`);
    return found;
  }

  tiles(layer, where, shown) {
    const [count, height, width] = layer.shape;
    const part = this.part(layer.name, `${count} maps of ${height} × ${width}`, where);
    shown.add(layer.name);
    part.canvas.className = "maps";
    const values = levels(layer), room = Math.min(this.element.clientWidth - 24, 700);
    const {across, gap} = tiles(part.canvas, values, layer.shape, room);
    // The number below the pointer.
    part.canvas.onpointermove = (event) => {
      const box = part.canvas.getBoundingClientRect();
      const x = Math.floor((event.clientX - box.left) / box.width * part.canvas.width);
      const y = Math.floor((event.clientY - box.top) / box.height * part.canvas.height);
      const map = Math.floor(y / (height + gap)) * across + Math.floor(x / (width + gap));
      const row = y % (height + gap), column = x % (width + gap);
      const is = map < count && row < height && column < width;
      part.number.textContent = is ? `map ${map + 1}: ${plain(values[(map * height + row) * width + column] * layer.strongest)}` : "";
    };
    part.canvas.onpointerleave = () => { part.number.textContent = ""; };
  }

  // (step, unit) or (unit, step): steps from left to right.
  states(layer, shown) {
    const isTurned = layer.axes[0] === "step", values = levels(layer);
    const [steps, units] = isTurned ? layer.shape : [layer.shape[1], layer.shape[0]];
    const names = layer.labels.step ?? [];
    const turned = new Float32Array(values.length);
    for (let step = 0; step < steps; step++) {
      for (let unit = 0; unit < units; unit++) {
        turned[unit * steps + step] = isTurned ? values[step * units + unit] : values[unit * steps + step];
      }
    }
    const part = this.part(layer.name, `${units} units, ${steps} steps`, this.rest, true);
    shown.add(layer.name);
    const cell = Math.max(3, Math.min(24, Math.floor(520 / steps))), high = Math.max(1, Math.min(14, 160 / units));
    const isNamed = names.length === steps && steps <= NAMED && cell >= 9;
    heat(part.canvas, turned, new Array(units).fill(""), isNamed ? names : new Array(steps).fill(""), {cell, high, names: isNamed});
  }

  attention(layer, shown) {
    const [heads, queries, keys] = layer.shape, values = levels(layer);
    for (let head = 0; head < heads; head++) {
      const isFirst = !shown.size || ![...shown].some((one) => one.includes("attention"));
      const name = `${layer.name.replace(/ weights$/, "")}${heads > 1 ? `, head ${head + 1}` : ""}`;
      const part = this.part(name, isFirst ? "a row attends to columns" : "", this.heads, true);
      shown.add(name);
      const some = values.subarray(head * queries * keys, (head + 1) * queries * keys);
      const cell = Math.max(3, Math.min(16, Math.floor(340 / Math.max(queries, keys))));
      const isNamed = Math.max(queries, keys) <= NAMED;
      heat(part.canvas, some, layer.labels.query ?? [], layer.labels.key ?? [], {cell, names: isNamed});
    }
  }

  lens(lens, shown) {
    if (lens.length < 2) return;
    const name = "after each layer";
    let part = this.parts.get(name);
    if (!part) {
      const list = make("div", {className: "bars"});
      part = {list, element: make("section", {className: "card layer"},
        make("h2", {}, make("b", {textContent: name}), "what the head would say"), list)};
      this.heads.append(part.element);
      this.parts.set(name, part);
    }
    shown.add(name);
    part.list.replaceChildren(...lens.flatMap(({layer, says: [text, share]}) => {
      const fill = make("div", {className: "fill"});
      fill.style.transform = `scaleX(${Math.max(0, Math.min(1, share))})`;
      return [make("div", {className: "name", textContent: layer}), make("div", {className: "track"}, fill),
        make("div", {className: "value", textContent: text, title: text})];
    }));
  }
}
