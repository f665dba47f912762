// Elements of the page. Texts are set as texts: nothing that comes from a run or a user is parsed as HTML.

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function card(title, ...children) {
  return make("section", {className: "card"}, make("h2", {textContent: title}), ...children);
}

// Bars of shares from 0 to 1, or of values of either sign; they are kept and moved, as they change while one draws.
export class Bars {
  constructor(chosen) {
    this.element = make("div", {className: "bars"});
    this.chosen = chosen;
    this.rows = [];
  }

  show(pairs, {best = -1, shares = true} = {}) {
    while (this.rows.length > pairs.length) this.rows.pop().forEach((part) => part.remove());
    while (this.rows.length < pairs.length) this.rows.push(this.row(this.rows.length));
    const strongest = Math.max(1e-12, ...pairs.map(([, value]) => Math.abs(value)));
    pairs.forEach(([name, value], place) => {
      const [label, track, number] = this.rows[place];
      const text = label.firstChild ?? label;
      if (label.textContent !== name) { (label.querySelector("button") ?? label).textContent = name; label.title = name; }
      void text;
      const fill = track.firstChild;
      fill.style.transform = `scaleX(${shares ? value : Math.abs(value) / strongest})`;
      fill.classList.toggle("against", value < 0);
      number.textContent = shares ? `${(100 * value).toFixed(1)} %` : plain(value);
      label.classList.toggle("best", place === best);
    });
  }

  row(place) {
    const label = make("div", {className: "name"});
    if (this.chosen) label.append(make("button", {type: "button", onclick: () => this.chosen(place)}));
    const track = make("div", {className: "track"}, make("div", {className: "fill"}));
    const parts = [label, track, make("div", {className: "value"})];
    this.element.append(...parts);
    return parts;
  }
}

export function plain(value) {
  return Math.abs(value) >= 1e5 || (value && Math.abs(value) < 1e-3) ? value.toExponential(2) : String(+value.toPrecision(4));
}

// What the network says: its best answer in large letters, and bars.
export class Says {
  constructor(title = "The network says") {
    this.text = make("p", {className: "says", role: "status", textContent: "–"});
    this.bars = new Bars();
    this.element = card(title, this.text, this.bars.element);
  }

  show({outcome, says}) {
    if (outcome.written !== null) {
      this.text.className = "says long";
      this.text.textContent = outcome.written || "(nothing)";
      return;
    }
    const [first] = outcome.best;
    const sorted = [...first].sort((a, b) => b[1] - a[1]);
    if (!outcome.probabilities) {
      this.text.replaceChildren(outcome.best.length > 1 ? says : plain(first[0][1]));
      if (first.length > 1) this.bars.show(first, {shares: false});
      return;
    }
    this.text.replaceChildren(sorted[0][0], make("small", {textContent: `  ${(100 * sorted[0][1]).toFixed(1)} %`}));
    const byName = new Map(first);
    const pairs = outcome.columns && outcome.columns.length <= 12
      ? outcome.columns.map((name, place) => [name, byName.get(name) ?? first[place][1]]) : sorted.slice(0, 12);
    this.bars.show(pairs, {best: pairs.findIndex(([name]) => name === sorted[0][0])});
  }

  clear() {
    this.text.textContent = "–";
    this.bars.show(this.bars.rows.map((row) => [row[0].textContent, 0]));
  }
}
