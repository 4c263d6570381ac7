"""A small shop's checkout, as a Python team would write it: Flask, requests, logging.

It knows nothing of OpenTelemetry; `opentelemetry-instrument` brings that. Prints the port that it listens on.

    GET /checkout/<sku>  asks the price service; a price that cannot be had is an exception and a 500
    GET /stock/<sku>     what the price service asks back
"""

import logging
import os

import requests
from flask import Flask, request
from werkzeug.serving import make_server

PRICES = os.environ.get("PRICES_URL", "http://127.0.0.1:9")

logging.basicConfig(level=logging.INFO)
log = logging.getLogger("checkout")
app = Flask("checkout")


def correlation():
    return request.headers.get("x-correlation-id", "none")


@app.get("/checkout/<sku>")
def checkout(sku):
    headers = {"x-correlation-id": correlation()}
    stock = f"{request.host_url}stock/{sku}"
    answer = requests.get(f"{PRICES}/price/{sku}", params={"stock": stock}, headers=headers, timeout=10)
    if answer.status_code != 200:
        log.error("no price for %s", sku, extra={"correlation.id": correlation()})
        raise RuntimeError(f"prices answered {answer.status_code} for {sku}")
    log.info("sold %s", sku, extra={"correlation.id": correlation()})
    return {"sku": sku, "price": answer.json()["price"]}


@app.get("/stock/<sku>")
def stock(sku):
    return {"sku": sku, "left": 3}


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()
