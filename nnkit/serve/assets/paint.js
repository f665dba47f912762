// Numbers as colours: blue above zero, orange below, the page seen through what is near zero.

let palette = null;

export function colours() {
  if (palette) return palette;
  const style = getComputedStyle(document.documentElement);
  const named = (name) => style.getPropertyValue(`--${name}`).trim();
  const rgb = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  palette = {
    blue: rgb(named("blue")), orange: rgb(named("orange")), ink: named("ink"), quiet: named("quiet"),
    faint: named("faint"), page: named("page"), card: named("card"),
  };
  return palette;
}

export function onColours(work) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { palette = null; work(); });
}

// A share from -1 to 1 as a colour.
export function colour(share) {
  const [r, g, b] = share < 0 ? colours().orange : colours().blue;
  return `rgba(${r}, ${g}, ${b}, ${Math.min(1, Math.abs(share)) ** 0.8})`;
}

// Base64 of bytes to an array of numbers from -1 to 1; see `packed` in lighting.py.
export function levels(packed) {
  const text = atob(packed.levels), found = new Float32Array(text.length);
  for (let place = 0; place < text.length; place++) found[place] = ((text.charCodeAt(place) << 24) >> 24) / 127;
  return found;
}

export function bytes(text) {
  return Uint8ClampedArray.from(atob(text), (sign) => sign.charCodeAt(0));
}

function put(pixels, at, share) {
  const [r, g, b] = share < 0 ? colours().orange : colours().blue;
  pixels[at] = r; pixels[at + 1] = g; pixels[at + 2] = b;
  pixels[at + 3] = 255 * Math.min(1, Math.abs(share)) ** 0.8;
}

// Lays matrices (parts, height, width) out as tiles, one pixel a number, a gap between two of them.
export function tiles(canvas, values, [count, height, width], room) {
  const gap = Math.max(1, Math.round(width / 14)), side = Math.max(height, width);
  const scale = Math.max(1, Math.min(Math.round(84 / side) || 1, 13));
  const most = Math.max(1, Math.min(count, Math.floor((room + gap * scale) / ((width + gap) * scale))));
  const down = Math.ceil(count / most), across = Math.ceil(count / down);
  const size = [across * (width + gap) - gap, down * (height + gap) - gap];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  canvas.style.width = `${size[0] * scale}px`;
  const context = canvas.getContext("2d");
  const image = context.createImageData(...size), pixels = image.data;
  for (let part = 0; part < count; part++) {
    const top = Math.floor(part / across) * (height + gap), left = (part % across) * (width + gap);
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        put(pixels, 4 * ((top + row) * size[0] + left + column), values[(part * height + row) * width + column]);
      }
    }
  }
  context.putImageData(image, 0, 0);
  return {across, gap, scale};
}

// Makes a canvas as sharp as the screen, and returns its context in units of the page.
export function sharp(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

// A matrix with names along both sides: (rows, columns) of shares.
export function heat(canvas, values, rows, columns, {cell = 16, high = cell, names = true} = {}) {
  const context = canvas.getContext("2d");
  const font = "11px system-ui, sans-serif";
  context.font = font;
  const longest = (some) => Math.min(120, Math.max(0, ...some.map((name) => context.measureText(name).width)));
  const short = columns.every((name) => context.measureText(name).width < cell - 1);
  const left = names && rows.length ? longest(rows) + 8 : 0, top = names && columns.length ? (short ? 18 : longest(columns) + 8) : 0;
  const count = [rows.length || values.length / columns.length, columns.length || values.length / rows.length];
  const size = [left + count[1] * cell, top + count[0] * high];
  canvas.style.width = `${size[0]}px`;
  const drawn = sharp(canvas, ...size);
  drawn.font = font;
  drawn.fillStyle = colours().ink;
  drawn.textBaseline = "middle";
  if (left) {
    drawn.textAlign = "right";
    rows.forEach((name, row) => drawn.fillText(name, left - 5, top + (row + 0.5) * high, left - 6));
  }
  if (top) {
    drawn.textAlign = "left";
    columns.forEach((name, column) => {
      if (short) { drawn.fillText(name, left + (column + 0.5) * cell - context.measureText(name).width / 2, top - 9); return; }
      drawn.save();
      drawn.translate(left + (column + 0.5) * cell, top - 5);
      drawn.rotate(-Math.PI / 2);
      drawn.fillText(name, 0, 0, top - 6);
      drawn.restore();
    });
  }
  for (let row = 0; row < count[0]; row++) {
    for (let column = 0; column < count[1]; column++) {
      drawn.fillStyle = colour(values[row * count[1] + column]);
      drawn.fillRect(left + column * cell, top + row * high, cell - (cell > 5 ? 1 : 0), high - (high > 5 ? 1 : 0));
    }
  }
  drawn.strokeStyle = colours().faint;
  drawn.strokeRect(left + 0.5, top + 0.5, count[1] * cell - 1, count[0] * high - 1);
}
