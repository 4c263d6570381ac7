// A mailer as a Node team would write it: amqplib, pino.
//
// It knows nothing of OpenTelemetry; telemetry.js, loaded before it, brings that. Says `ready` when it takes messages.
//
//   node --require ./telemetry.js mailer.js AMQP_URL
//
// Takes from the queue `mail`, which is bound to the topic exchange `orders`. The order `poison` goes to the dead letters in
// `mail.dlq`.

'use strict';

const amqp = require('amqplib');
const pino = require('pino');

const log = pino({ level: 'info' }, pino.destination(2));

async function main() {
  const connection = await amqp.connect(process.argv[2]);
  const channel = await connection.createChannel();
  await channel.assertExchange('orders', 'topic', { durable: true });
  await channel.assertExchange('dead', 'fanout', { durable: true });
  await channel.assertQueue('mail.dlq', { durable: true });
  await channel.bindQueue('mail.dlq', 'dead', '');
  await channel.assertQueue('mail', { durable: true, deadLetterExchange: 'dead' });
  await channel.bindQueue('mail', 'orders', 'order.*');
  await channel.prefetch(10);
  await channel.consume('mail', message => {
    const { order } = JSON.parse(message.content);
    const correlation = message.properties.correlationId;
    if (order === 'poison') {
      log.error({ correlation_id: correlation }, 'no address is known for poison');
      channel.nack(message, false, false);
      return;
    }
    log.info({ correlation_id: correlation, order }, 'mailed');
    channel.ack(message);
  });
  console.log('ready');
}

main().catch(error => {
  log.error(error);
  process.exit(1);
});
