// A small shop's price service, as a Node team would write it: express, pino, fetch.
//
// It knows nothing of OpenTelemetry; telemetry.js, loaded before it, brings that. Prints the port that it listens on.
//
//   GET /price/:sku?stock=URL  asks the URL for the stock; the price of `gone` is an error

'use strict';

const express = require('express');
const pino = require('pino');

const log = pino({ level: 'info' }, pino.destination(2));
const app = express();

app.get('/price/:sku', async (request, response) => {
  const correlation = request.get('x-correlation-id') || 'none';
  const headers = { 'x-correlation-id': correlation };
  const stock = await fetch(request.query.stock, { headers });
  const { left } = await stock.json();
  if (request.params.sku === 'gone') {
    log.error({ correlation_id: correlation }, 'no price is known for gone');
    throw new Error('no price is known for gone');
  }
  log.info({ correlation_id: correlation, left }, 'priced');
  response.json({ price: 1250, left });
});

const server = app.listen(0, '127.0.0.1', () => {
  console.log(`listening on ${server.address().port}`);
});
