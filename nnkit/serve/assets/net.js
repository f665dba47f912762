// What is asked of the server, and what it answers.

export const config = JSON.parse(document.body.dataset.config);

const problem = document.getElementById("problem");

export function complain(text) {
  problem.textContent = text;
  problem.hidden = !text;
}

async function sent(path, body, signal) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST", signal, headers: {"Content-Type": "application/json"}, body: JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer: is nnkit serve still running?");
  }
  if (!response.ok) {
    const found = await response.json().catch(() => ({error: `the server answered ${response.status}`}));
    throw new Error(found.error);
  }
  return response;
}

export async function post(path, body) {
  return (await sent(path, body)).json();
}

export async function* lines(path, body, signal) {
  const reader = (await sent(path, body, signal)).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

// Calls one request at a time; of those that come meanwhile the last is made next, the others are left out.
export function latest(work) {
  let running = false, waiting = null;
  return async function ask(...given) {
    if (running) { waiting = given; return; }
    running = true;
    try {
      await work(...given);
      complain("");
    } catch (error) {
      complain(error.message);
    } finally {
      running = false;
      if (waiting) { const next = waiting; waiting = null; ask(...next); }
    }
  };
}

export function later(milliseconds, work) {
  let timer = 0;
  return (...given) => { clearTimeout(timer); timer = setTimeout(() => work(...given), milliseconds); };
}
