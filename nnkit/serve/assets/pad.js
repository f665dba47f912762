// A blackboard: white strokes on black by mouse, pen, finger or arrow keys; or a picture that is chosen or dropped.

import {make} from "/assets/dom.js";

const SIZE = 280, PEN = 20, STEP = 8;

export class Pad {
  // `changed` is called with the time of the event that changed the picture, and with null when it is cleared.
  constructor(changed) {
    this.changed = changed;
    this.canvas = make("canvas", {
      width: SIZE, height: SIZE, tabIndex: 0, role: "img",
      "aria-label": "drawing pad: draw with the pointer, or with the arrow keys; space lifts and sets the pen, Delete clears",
    });
    this.context = this.canvas.getContext("2d", {willReadFrequently: true});
    this.hint = make("p", {textContent: "draw here"});
    this.element = make("div", {className: "pad"}, this.canvas, this.hint);
    this.pen = [SIZE / 2, SIZE / 2];
    this.isDown = false;
    this.isBlank = true;
    this.picture = null;
    this.fill();
    this.listen();
  }

  listen() {
    const {canvas} = this;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [(event.clientX - box.left) * SIZE / box.width, (event.clientY - box.top) * SIZE / box.height];
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      canvas.setPointerCapture(event.pointerId);
      this.isDown = true;
      if (this.picture) this.clear(true);
      this.line(at(event), at(event), event.timeStamp);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.isDown || !event.buttons) return;
      // A fast hand makes several points between two frames.
      const points = event.getCoalescedEvents?.() ?? [];
      for (const point of points.length ? points : [event]) this.line(this.pen, at(point), event.timeStamp);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { this.isDown = false; });
    canvas.addEventListener("keydown", (event) => this.key(event));
    for (const name of ["dragover", "dragleave", "drop"]) {
      this.element.addEventListener(name, (event) => {
        event.preventDefault();
        this.element.classList.toggle("over", name === "dragover");
        if (name === "drop" && event.dataTransfer.files.length) this.take(event.dataTransfer.files[0]);
      });
    }
    addEventListener("paste", (event) => {
      const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
      if (file) this.take(file);
    });
  }

  key(event) {
    const moves = {ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP]};
    if (event.key === "Delete" || event.key === "Backspace") { event.preventDefault(); this.clear(); return; }
    if (event.key === " ") { event.preventDefault(); this.isSet = !this.isSet; this.canvas.style.cursor = this.isSet ? "cell" : "crosshair"; return; }
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    const next = move.map((by, axis) => Math.max(0, Math.min(SIZE, this.pen[axis] + by)));
    if (this.isSet || event.shiftKey) {
      if (this.picture) this.clear(true);
      this.line(this.pen, next, event.timeStamp);
    }
    this.pen = next;
  }

  fill() {
    this.context.fillStyle = "#000";
    this.context.fillRect(0, 0, SIZE, SIZE);
  }

  line(from, to, time) {
    Object.assign(this.context, {strokeStyle: "#fff", lineWidth: PEN, lineCap: "round", lineJoin: "round"});
    this.context.beginPath();
    this.context.moveTo(...from);
    this.context.lineTo(to[0] + 0.01, to[1]);
    this.context.stroke();
    this.pen = to;
    this.isBlank = false;
    this.hint.hidden = true;
    this.changed(time);
  }

  clear(isQuiet = false) {
    this.fill();
    this.picture = null;
    this.isBlank = true;
    this.hint.hidden = isQuiet;
    if (!isQuiet) this.changed(null);
  }

  // Shows a picture file; the file itself is sent, as it is.
  async take(file) {
    const content = new Uint8Array(await file.arrayBuffer());
    let text = "";
    for (let start = 0; start < content.length; start += 32768) text += String.fromCharCode(...content.subarray(start, start + 32768));
    this.fill();
    this.picture = btoa(text);
    this.isBlank = false;
    this.hint.hidden = true;
    try {
      const image = await createImageBitmap(file), scale = SIZE / Math.max(image.width, image.height);
      const size = [image.width * scale, image.height * scale];
      this.context.drawImage(image, (SIZE - size[0]) / 2, (SIZE - size[1]) / 2, ...size);
    } catch {
      // A format that the server reads and the browser does not.
      this.hint.textContent = file.name;
      this.hint.hidden = false;
    }
    this.changed(performance.now());
  }

  content() {
    return this.picture ?? this.canvas.toDataURL("image/png").split(",")[1];
  }
}
