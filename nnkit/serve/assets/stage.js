// Layers of units one below the other, with the connections that carry most between them.

import {bytes, colour, colours, levels, sharp} from "/assets/paint.js";

const GAP = 58, LABEL = 20, DISC = 36, NAMED = 40;

// Places of the units of a layer: rows of squares in the middle.
function placed(count, width, top) {
  const across = Math.min(count, Math.max(12, Math.floor(width / 11)));
  const down = Math.ceil(count / across), even = Math.ceil(count / down);
  const side = Math.min(24, width / even);
  const left = (width - even * side) / 2;
  const at = (unit) => [left + ((unit % even) + 0.5) * side, top + (Math.floor(unit / even) + 0.5) * side];
  return {at, side, height: down * side};
}

// Places of units that have names: discs far enough from each other for these.
function named(labels, width, top) {
  const longest = Math.max(...labels.map((label) => label.length));
  const side = Math.min(width / labels.length, Math.max(60, Math.min(150, 7 * longest + 12)));
  const left = (width - labels.length * side) / 2, disc = Math.min(side - 2, DISC);
  return {at: (unit) => [left + (unit + 0.5) * side, top + disc / 2], side, disc, height: disc};
}

function pictured({shape: [height, width]}, room, top) {
  const side = Math.max(2, Math.min(9, Math.floor(Math.min(room, 260) / width)));
  const left = (room - width * side) / 2;
  const at = (unit) => [left + ((unit % width) + 0.5) * side, top + (Math.floor(unit / width) + 0.5) * side];
  return {at, side, height: height * side};
}

export class Stage {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "units");
    this.element = document.createElement("section");
    this.element.className = "card stage";
    this.element.append(this.canvas);
    this.element.hidden = true;
  }

  show(found) {
    const units = found.layers.filter((layer) => layer.axes.length === 1 && layer.axes[0] === "unit");
    const {outcome, input} = found, isPicture = input.kind === "picture" && input.shape[2] === 3;
    const fromInput = found.links.some((link) => link.from === "input");
    const single = outcome.best.length === 1 && outcome.columns && outcome.columns.length <= 40;
    if (!units.length && !fromInput) { this.element.hidden = true; return; }
    this.element.hidden = false;
    const width = Math.max(240, this.element.clientWidth - 24);
    const parts = [];
    let y = LABEL;
    if (fromInput) {
      const labels = !isPicture && input.names.length === input.shape[0] && input.names.length <= NAMED ? input.names : null;
      const layout = isPicture ? pictured(input, width, y) : labels ? named(labels, width, y) : placed(input.shape[0], width, y);
      parts.push({name: "input", count: isPicture ? input.shape[0] * input.shape[1] : input.shape[0], layout, labels,
        pixels: isPicture ? bytes(input.pixels) : null, values: isPicture ? null : levels(input)});
      y += layout.height + GAP;
    }
    for (const layer of units) {
      const layout = placed(layer.shape[0], width, y);
      parts.push({name: layer.name, count: layer.shape[0], layout, values: levels(layer)});
      y += layout.height + GAP;
    }
    if (single) {
      const shares = new Map(outcome.best[0]);
      const values = outcome.columns.map((name) => shares.get(name) ?? 0);
      const strongest = outcome.probabilities ? 1 : Math.max(1e-9, ...values.map(Math.abs));
      const layout = named(outcome.columns, width, y);
      parts.push({name: "score", count: values.length, layout, values: values.map((one) => one / strongest),
        labels: outcome.columns, last: true});
      y += layout.height + 18;
    } else {
      y -= GAP - 10;
    }
    const context = sharp(this.canvas, width, y);
    this.canvas.style.width = `${width}px`;
    const layouts = new Map(parts.map((part) => [part.name, part.layout]));
    // Lines run over a picture and below units.
    for (const part of parts) if (part.pixels) this.part(context, part);
    this.links(context, found.links, layouts);
    for (const part of parts) if (!part.pixels) this.part(context, part);
    this.canvas.setAttribute("aria-label", `units of ${parts.map((part) => part.name).join(", ")}`);
  }

  links(context, links, layouts) {
    for (const {from, to, ends} of links) {
      const start = layouts.get(from), end = layouts.get(to);
      if (!start || !end) continue;
      for (const [a, b, share] of [...ends].reverse()) {
        const [x, top] = start.at(a), [to, bottom] = end.at(b), middle = (top + bottom) / 2;
        context.strokeStyle = colour(share * 0.85);
        context.lineWidth = 0.6 + 2 * Math.abs(share);
        context.beginPath();
        context.moveTo(x, top);
        context.bezierCurveTo(x, middle, to, middle, to, bottom);
        context.stroke();
      }
    }
  }

  part(context, {name, count, layout, values, pixels, labels, last}) {
    const {at, side} = layout, gap = side > 6 ? 2 : side > 3 ? 0.5 : 0, seen = colours();
    for (let unit = 0; unit < count; unit++) {
      const [x, y] = at(unit), size = layout.disc ?? side - gap;
      context.beginPath();
      if (pixels) context.rect(x - side / 2, y - side / 2, side, side);
      else context.roundRect(x - size / 2, y - size / 2, size, size, layout.disc ? size / 2 : Math.min(4, size / 4));
      if (pixels) {
        context.fillStyle = `rgb(${pixels[3 * unit]}, ${pixels[3 * unit + 1]}, ${pixels[3 * unit + 2]})`;
        context.fill();
        continue;
      }
      // The card shows through no unit, or lines would be seen in those that are silent.
      context.fillStyle = seen.card;
      context.fill();
      context.fillStyle = colour(values[unit]);
      if (Math.abs(values[unit]) > 0.75) { context.shadowColor = colour(values[unit]); context.shadowBlur = 9; }
      context.fill();
      context.shadowBlur = 0;
      context.strokeStyle = seen.faint;
      context.lineWidth = 0.8;
      context.stroke();
    }
    context.textBaseline = "alphabetic";
    if (labels) {
      context.font = "12px system-ui, sans-serif";
      context.textAlign = "center";
      context.fillStyle = seen.ink;
      labels.forEach((label, unit) => {
        const [x, y] = at(unit);
        context.fillText(label, x, last ? y + layout.disc / 2 + 14 : y - layout.disc / 2 - 6, Math.max(12, side - 3));
      });
    } else if (!last) {
      context.font = "600 12px system-ui, sans-serif";
      context.textAlign = "left";
      const text = pixels ? `${name}, ${count} pixels` : `${name}, ${count} units`, top = at(0)[1] - side / 2;
      // Lines end where a name is written.
      context.fillStyle = seen.card;
      context.globalAlpha = 0.8;
      context.fillRect(0, top - 20, context.measureText(text).width + 6, 17);
      context.globalAlpha = 1;
      context.fillStyle = seen.quiet;
      context.fillText(text, 0, top - 7);
    }
  }
}
