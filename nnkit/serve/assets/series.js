// A series: its last window, pasted or drawn, and the forecast.

import {config, latest, later, post} from "/assets/net.js";
import {card, make, Says} from "/assets/dom.js";
import {colours, levels, onColours, sharp} from "/assets/paint.js";
import {Layers} from "/assets/layers.js";

const HEIGHT = 300, EDGE = 44;

export function seriesWidget(main) {
  const names = config.channels.map((channel) => channel.name);
  let steps = config.example.map((row) => [...row]), ahead = null, channel = 0;
  const says = new Says("The next step"), layers = new Layers("The layers of the forecast.");
  const canvas = make("canvas", {tabIndex: 0, role: "img", "aria-label": "the window and the forecast: draw over the window to change it"});
  const note = make("p", {className: "hint"});

  function scale() {
    const shown = [...steps.slice(-config.window).map((row) => row[channel]), ...(ahead?.[names[channel]] ?? [])];
    const {mean, std} = config.channels[channel];
    const low = Math.min(mean - 2 * std, ...shown), high = Math.max(mean + 2 * std, ...shown), width = canvas.parentElement.clientWidth - 24;
    const count = config.window + config.horizon;
    return {low, high, width, x: (step) => EDGE + (step + 0.5) * (width - EDGE) / count,
      y: (value) => 12 + (high - value) / (high - low || 1) * (HEIGHT - 36), step: (x) => Math.floor((x - EDGE) / (width - EDGE) * count)};
  }

  function draw() {
    const {low, high, width, x, y} = scale(), seen = colours();
    canvas.style.width = `${width}px`;
    const context = sharp(canvas, width, HEIGHT), window = steps.slice(-config.window);
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = seen.quiet;
    context.textAlign = "right";
    for (let part = 0; part <= 4; part++) {
      const value = low + (high - low) * part / 4;
      context.fillText(value.toPrecision(3), EDGE - 6, y(value) + 4);
      context.strokeStyle = seen.faint;
      context.lineWidth = 0.5;
      context.beginPath(); context.moveTo(EDGE, y(value)); context.lineTo(width, y(value)); context.stroke();
    }
    context.textAlign = "center";
    context.fillText("now", x(config.window - 0.5), HEIGHT - 6);
    const line = (values, start, [r, g, b]) => {
      context.strokeStyle = context.fillStyle = `rgb(${r}, ${g}, ${b})`;
      context.lineWidth = 2;
      context.beginPath();
      values.forEach((value, place) => context[place ? "lineTo" : "moveTo"](x(start + place), y(value)));
      context.stroke();
      if (values.length === 1) { context.beginPath(); context.arc(x(start), y(values[0]), 4, 0, 7); context.fill(); }
    };
    const known = window.map((row) => row[channel]);
    line(known, config.window - window.length, seen.blue);
    const next = ahead?.[names[channel]];
    if (next) line(next.length > 1 ? [known.at(-1), ...next] : next, next.length > 1 ? config.window - 1 : config.window, seen.orange);
  }

  const ask = latest(async () => {
    const series = steps.map((row) => Object.fromEntries(names.map((name, place) => [name, row[place]])));
    const [{predictions}, found] = await Promise.all([post("/predict", {series}), post("/layers", {series, contributions: true})]);
    ahead = {};
    for (const {values} of predictions) for (const [name, value] of Object.entries(values)) (ahead[name] ??= []).push(value);
    says.show(found);
    layers.show(found);
    if (found.contributions) {
      const values = levels(found.contributions), most = values.reduce((best, value, place) => Math.abs(value) > Math.abs(values[best]) ? place : best, 0);
      note.textContent = `the step that counts most for ${found.contributions.target} is ${values.length - 1 - most} before the last one`;
    }
    draw();
  });
  const changed = later(60, ask);

  const box = make("textarea", {spellcheck: false, "aria-label": `the steps of the window, ${names.join(", ")}`, oninput: () => {
    const rows = box.value.trim().split("\n").map((line) => line.split(/[,;\t ]+/).map(Number));
    if (rows.some((row) => row.length !== names.length || row.some((value) => !Number.isFinite(value)))) {
      note.textContent = `each line needs ${names.length} number${names.length > 1 ? "s" : ""}: ${names.join(", ")}`;
      return;
    }
    note.textContent = rows.length < config.window ? `${rows.length} of ${config.window} steps` : "";
    steps = rows;
    if (rows.length >= config.window) changed();
  }});
  const write = () => { box.value = steps.map((row) => row.join(", ")).join("\n"); };
  const drawn = (event) => {
    if (!event.buttons) return;
    const {low, high, step} = scale(), bounds = canvas.getBoundingClientRect();
    const place = step(event.clientX - bounds.left) - config.window + steps.length;
    if (place < 0 || place >= steps.length) return;
    const value = high - (event.clientY - bounds.top - 12) / (HEIGHT - 36) * (high - low);
    steps[place][channel] = Number(value.toPrecision(5));
    write();
    draw();
    changed();
  };
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); drawn(event); });
  canvas.addEventListener("pointermove", drawn);
  canvas.style.touchAction = "none";
  const choose = make("select", {"aria-label": "channel", oninput: () => { channel = names.indexOf(choose.value); draw(); }},
    ...names.map((name) => make("option", {value: name, textContent: name})));
  choose.hidden = names.length < 2;
  main.append(make("div", {className: "ask"}, card(`The last ${config.window} steps: ${names.join(", ")}`, box, note), says.element),
    make("div", {className: "inside"}, card("Draw over the window to change it; the forecast in orange", choose, canvas), layers.element));
  write();
  addEventListener("resize", draw);
  onColours(draw);
  draw();
  ask();
}
