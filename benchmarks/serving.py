"""How fast a served run answers: requests one at a time and 200 in parallel, and the page from a stroke to lit layers.

nnkit train model=lenet5 data=mnist trainer.max_epochs=1 name=mnist
python benchmarks/serving.py mnist

The page is measured in a headless Chromium on the same cores, in the page itself: from the event of the mouse until the
frame that shows the layers has been drawn.
"""

import argparse
import asyncio
import http.client
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageDraw

# Corners of a three as it is drawn, in shares of the pad, and points between two of them.
THREE = (
    *((0.33, 0.24), (0.5, 0.15), (0.66, 0.26), (0.64, 0.4), (0.48, 0.48)),
    *((0.66, 0.58), (0.68, 0.74), (0.5, 0.86), (0.3, 0.78)),
)
STEPS = 6


def picture(number: int) -> bytes:
    """Return a picture file, another for each number."""
    image = Image.new("L", (280, 280))
    ImageDraw.Draw(image).line([(90 + number, 50), (190 - number, 60), (120, 230)], fill=255, width=22)
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def request(body: bytes) -> bytes:
    """Return a request to predict."""
    head = (
        "POST /predict HTTP/1.1",
        "Host: localhost",
        "Content-Type: image/png",
        "Connection: close",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def ask(port: int, content: bytes) -> dict[str, object]:
    """Return what is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(content)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"not answered: {answer[:200]!r}")
    found: dict[str, object] = json.loads(body)
    return found


async def parallel(port: int, contents: list[bytes]) -> list[dict[str, object]]:
    """Send all requests at once."""
    return list(await asyncio.gather(*(ask(port, content) for content in contents)))


async def one_by_one(port: int, contents: list[bytes]) -> list[dict[str, object]]:
    """Send each request when the one before has been answered."""
    return [await ask(port, content) for content in contents]


def health(port: int) -> dict[str, float]:
    """Return the counts of the server."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/health")
    found: dict[str, float] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def measure(port: int, count: int, rounds: int) -> None:
    """Print throughput and batches."""
    contents = [request(picture(number % 40)) for number in range(count)]
    asyncio.run(one_by_one(port, contents[:20]))
    expected = [answer["predictions"] for answer in asyncio.run(one_by_one(port, contents))]
    for title, send in (("one at a time", one_by_one), (f"{count} in parallel", parallel)):
        speeds, sizes, right = [], [], 0
        for _ in range(rounds):
            before, began = health(port), time.perf_counter()
            answers = asyncio.run(send(port, contents))
            speeds.append(count / (time.perf_counter() - began))
            after = health(port)
            sizes.append((after["requests"] - before["requests"]) / (after["batches"] - before["batches"]))
            right += sum(
                answer["predictions"][0]["label"] == one[0]["label"]
                for answer, one in zip(answers, expected, strict=True)
            )
        print(
            f"{title:16} {statistics.median(speeds):7.0f} requests a second, {statistics.median(sizes):5.1f} requests "
            f"a batch, {right:,} of {count * rounds:,} answered as alone"
        )


def measure_page(port: int, strokes: int) -> None:
    """Print how long the layers of the page take to light up."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import chromium

    if chromium.PROGRAM is None:
        print("the page is not measured: there is no Chromium")
        return
    with chromium.opened() as tab:
        tab.look(1400)
        tab.open(f"http://127.0.0.1:{port}/")
        tab.wait("document.getElementById('main').dataset.ready")
        left, top, width, height = tab.run(
            "(() => { const b = document.querySelector('.pad canvas').getBoundingClientRect();"
            " return [b.left, b.top, b.width, b.height] })()"
        )
        ways = pairwise(THREE)
        points = [
            (left + (a + (c - a) * step / STEPS) * width, top + (b + (d - b) * step / STEPS) * height)
            for (a, b), (c, d) in ways
            for step in range(STEPS)
        ]
        for _ in range(strokes):
            tab.stroke(points, pause=0.016)
            time.sleep(0.5)
            tab.run("document.querySelector('.buttons button').click()")
        times = sorted(tab.run("globalThis.nnkitLatencies"))
    print(
        f"from a stroke to lit layers: median {statistics.median(times):.0f} ms, nine tenths within "
        f"{times[int(0.9 * len(times))]:.0f} ms, {len(times)} times"
    )


def main() -> None:
    """Serve the run, and print what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--strokes", type=int, default=10)
    given = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, "-m", "nnkit", "serve", given.run, "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert server.stdout is not None
        found = re.search(r":(\d+)/", server.stdout.readline())
        if found is None:
            raise SystemExit("the server did not start")
        port = int(found[1])
        measure(port, given.requests, given.rounds)
        measure_page(port, given.strokes)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


if __name__ == "__main__":
    main()
