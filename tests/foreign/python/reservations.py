"""A service as a team with Zipkin would write it: py_zipkin over B3 headers, where client and server share a span's ID.

    python reservations.py NAME ENCODING REPORT_TO [NEXT]

GET /reserve/<sku> asks the service at NEXT, or fails where there is none and nothing is left. Prints the port that it
listens on. ENCODING is V2_JSON or V2_PROTO3; REPORT_TO is the host:port that takes the spans.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from py_zipkin.encoding import Encoding
from py_zipkin.request_helpers import create_http_headers, extract_zipkin_attrs_from_headers
from py_zipkin.transport import SimpleHTTPTransport
from py_zipkin.zipkin import zipkin_client_span, zipkin_server_span, zipkin_span

NAME, ENCODING, REPORT_TO = sys.argv[1:4]
NEXT = sys.argv[4] if len(sys.argv) > 4 else None
HOST, PORT = REPORT_TO.split(":")


def reserve(sku):
    if NEXT:
        with zipkin_client_span(service_name=NAME, span_name="ask") as span:
            answer = requests.get(f"{NEXT}/reserve/{sku}", headers=create_http_headers(), timeout=10)
            span.update_binary_annotations({"http.status_code": str(answer.status_code)})
            if not answer.ok:
                span.update_binary_annotations({"error": str(answer.status_code)})
            return answer.status_code
    with zipkin_span(service_name=NAME, span_name="look") as span:
        span.add_annotation("looked")
        return 200 if sku != "gone" else 409


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        sku = self.path.rsplit("/", 1)[-1]
        # Without these headers the span is the first of a trace.
        called = extract_zipkin_attrs_from_headers(self.headers) if "X-B3-TraceId" in self.headers else None
        with zipkin_server_span(
            service_name=NAME,
            span_name="answer" if NEXT is None else "GET /reserve",
            zipkin_attrs=called,
            sample_rate=100,
            transport_handler=SimpleHTTPTransport(HOST, int(PORT)),
            encoding=Encoding[ENCODING],
            host="127.0.0.1",
            port=self.server.server_port,
            use_128bit_trace_id=True,
        ) as span:
            status = reserve(sku)
            span.update_binary_annotations({"http.path": self.path, "correlation.id": f"reserve-{sku}"})
            if status != 200:
                span.update_binary_annotations({"error": f"{sku} is not there"})
        # Answered when the spans are reported: who asked may look for them.
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()
