// Watches an empty dashboard come to life. Whoever runs this does what it asks for by a line:
//
//   node live.mjs BASE     "please: send NAME" a trace with a root of this name, "please: log TEXT"; "please: end", "please: start" the dashboard

import assert from 'node:assert/strict';
import { clean, launch, open, run, visit } from './browser.mjs';

const [base] = process.argv.slice(2);
const browser = await launch();
const page = await open(browser, base);
const please = what => console.log(`please: ${what}`);

await run({
  async 'an empty dashboard tells how to get data in'() {
    await visit(page, `${base}/`);
    assert.match(await page.locator('main').innerText(), /OTEL_EXPORTER_OTLP_ENDPOINT/);
    clean(page);
  },

  async 'what comes first appears without a reload'() {
    await mark();
    please('send first-light');
    await page.locator('main', { hasNotText: 'OTEL_EXPORTER_OTLP_ENDPOINT' }).waitFor();
    await assertMarked();
    clean(page);
  },

  async 'a page whose scripts come one long after the other is live all the same'() {
    let scripts = 0;
    await page.route('**/*.js', async route => {
      const late = 400 * scripts++;
      await new Promise(done => setTimeout(done, late));
      await route.continue();
    });
    const stream = page.waitForRequest(`${base}/live`);
    await visit(page, `${base}/`);
    await stream;
    assert.ok(scripts > 1, 'there are scripts to wait for');
    await page.unroute('**/*.js');
    clean(page);
  },

  async 'the list shows a new trace without a reload'() {
    await visit(page, `${base}/traces`);
    await page.getByRole('link', { name: 'first-light' }).waitFor();
    await mark();
    please('send second-wind');
    await shown('second-wind');
    clean(page);
  },

  async 'the list of logs shows a new one without a reload, and opens it'() {
    await visit(page, `${base}/logs`);
    assert.match(await page.locator('main').innerText(), /OTEL_LOGS_EXPORTER/);
    await mark();
    please('log first-word');
    const first = page.locator('summary', { hasText: 'first-word' });
    await first.waitFor();
    await assertMarked();
    await visit(page, `${base}/logs`);
    await first.click();
    await page.locator('.log[open] .kv', { hasText: 'order.id' }).waitFor();
    await mark();
    please('log last-word');
    const told = page.locator('#new-rows a', { hasText: '1 new log' });
    await told.waitFor();
    await assertMarked();
    assert.ok(await page.locator('.log[open]').count() === 1, 'what was opened stays open');
    await told.click();
    await page.locator('summary', { hasText: 'last-word' }).click();
    await page.locator('.log[open] a.by').first().click();
    await page.waitForURL(/attr=order\.id%3D42/);
    clean(page);
    await visit(page, `${base}/traces`);
  },

  async 'it goes on after a restart of the dashboard'() {
    await mark();
    page.away = true;
    please('end');
    await page.locator('#live-switch', { hasText: 'Reconnecting' }).waitFor();
    please('start');
    await page.locator('#live-switch', { hasText: 'Live' }).waitFor();
    page.away = false;
    please('send third-time');
    await shown('third-time');
    clean(page);
  },
});
await browser.close();

/** Leaves a mark in the document that a reload would wipe out. */
async function mark() {
  await page.evaluate(() => { window.marked = true; });
}

async function assertMarked() {
  assert.ok(await page.evaluate(() => window.marked), 'the page was loaded again');
}

/** The page says by itself that something is new, or shows it; a click on what it says brings it into the list. */
async function shown(name) {
  const link = page.getByRole('link', { name });
  const told = page.locator('#new-rows a, #new-rows button');
  await link.or(told).first().waitFor();
  await assertMarked();
  if (!await link.count()) await told.first().click();
  await link.waitFor();
}
