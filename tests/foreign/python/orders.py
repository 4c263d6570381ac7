"""Orders as a Python team would write them: Flask, and pika for what others are to know.

It knows nothing of OpenTelemetry; `opentelemetry-instrument` brings that. Prints the port that it listens on.

    python orders.py AMQP_URL

POST /orders/<id> publishes `order.placed` to the topic exchange `orders`; of the order `poison` nobody can make sense.
"""

import json
import sys

import pika
from flask import Flask, request
from werkzeug.serving import make_server

URL = sys.argv[1]
app = Flask(__name__)


@app.post("/orders/<order>")
def place(order):
    correlation = request.headers.get("x-correlation-id", "none")
    with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(
            exchange="orders",
            routing_key="order.placed",
            body=json.dumps({"order": order, "total": 1250}),
            properties=pika.BasicProperties(
                message_id=f"placed-{order}",
                correlation_id=correlation,
                content_type="application/json",
                type="order.placed",
                delivery_mode=2,
            ),
            mandatory=True,
        )
    return {"placed": order}, 201


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, app)
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()
