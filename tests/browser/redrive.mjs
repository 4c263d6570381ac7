// Finds a dead letter of the demo shop, edits it, redrives it and follows it.
//
//   node redrive.mjs BASE FOLDER

import assert from 'node:assert/strict';
import path from 'node:path';
import { clean, fits, launch, open, overflow, run, still, visit } from './browser.mjs';

const [base, folder] = process.argv.slice(2);
const browser = await launch();
/** Addresses of pages that are looked at in every theme and width at the end. */
const seen = {};

/** From the list of queues to what a look into orders.dlq has shown. */
async function look(page) {
  const queue = page.getByRole('link', { name: 'orders.dlq' }).first();
  const deadline = Date.now() + 60_000;
  do {
    assert.ok(Date.now() < deadline, 'nobody told of orders.dlq within a minute');
    await visit(page, `${base}/queues`);
  } while (await queue.count() === 0);
  await queue.click();
  await page.getByRole('link', { name: 'Peek and redrive…' }).click();
  await page.locator('h1', { hasText: 'orders.dlq' }).waitFor();
  await page.getByRole('button', { name: 'Look into the queue' }).click();
  await page.waitForURL(/messages\?peek=\d+/);
  await page.locator('tr[data-row] a').first().waitFor();
}

await run({
  async 'the dead-letter queue is opened, a message looked at, edited, redriven and followed'() {
    const page = await open(browser, base);
    await still(page);
    await look(page);
    seen.messages = page.url().slice(base.length);
    await page.locator('tr[data-row] th a').first().click();
    await page.locator('h1', { hasText: 'died in' }).waitFor();
    seen.message = page.url().slice(base.length);
    await page.getByRole('button', { name: 'Reveal and edit…' }).click();
    const body = page.locator('textarea[name=body]');
    await body.waitFor();
    const before = await body.inputValue();
    assert.match(before, /^\{/);
    await page.screenshot({ path: path.join(folder, 'revealed-light-1440.png'), fullPage: true });
    await page.setViewportSize({ width: 400, height: 860 });
    assert.ok(await overflow(page) <= 0, 'the form fits at 400 px');
    await page.screenshot({ path: path.join(folder, 'revealed-light-400.png'), fullPage: true });
    await page.setViewportSize({ width: 1440, height: 1000 });
    await body.fill(before.replace(/^\{/, '{"mended":true,'));
    await page.locator('textarea[name=headers]').fill('x-mended-by: a person');
    await page.getByRole('button', { name: 'Redrive it as edited' }).click();
    await page.waitForURL(/\/redrives\/\d+/);
    const title = page.locator('h1', { hasText: '1 message of orders.dlq was sent' });
    const deadline = Date.now() + 20_000;
    while (await title.count() === 0) {
      assert.ok(Date.now() < deadline, `not sent: ${await page.locator('main').innerText()}`);
      await visit(page, page.url());
    }
    seen.redrive = new URL(page.url()).pathname;
    assert.match(await page.locator('tr[data-row]').first().innerText(), /sent/);
    await page.locator('tr[data-row] td a').first().click();
    await page.waitForURL(/\/correlations\//);
    await page.locator('h1').first().waitFor();
    clean(page);
    await page.context().close();
  },

  async 'without JavaScript a dry run says what would be done, and all of it is in the audit'() {
    const page = await open(browser, base, { javaScriptEnabled: false });
    await look(page);
    await page.getByLabel('all in orders.dlq').check();
    await page.getByRole('button', { name: 'Dry run' }).click();
    await page.waitForURL(/\/redrives\/\d+/);
    const deadline = Date.now() + 20_000;
    while (await page.locator('h1', { hasText: 'would be sent' }).count() === 0) {
      assert.ok(Date.now() < deadline, `no end: ${await page.locator('main').innerText()}`);
      await visit(page, page.url());
    }
    assert.match(await page.locator('.lede').innerText(), /Nothing was sent/);
    seen['dry-run'] = new URL(page.url()).pathname;
    await page.getByRole('link', { name: 'What was done' }).click();
    const rows = await page.locator('tr[data-row]').allInnerTexts();
    for (const [at, what] of ['dry run', 'looked into', 'redrove', 'revealed', 'looked into'].entries()) {
      assert.ok(rows[at].includes(what), `${what}: ${rows[at]}`);
    }
    seen.audit = '/audit';
    clean(page);
    await page.context().close();
  },

  async 'the page follows a redrive to its end by itself'() {
    const page = await open(browser, base);
    await look(page);
    await page.getByLabel('all in orders.dlq').check();
    await page.locator('input[name=rate]').fill('1');
    await page.getByRole('button', { name: 'Redrive', exact: true }).click();
    await page.locator('h1', { hasText: 'Redriving from orders.dlq' }).waitFor();
    await page.getByRole('button', { name: 'Stop after this batch' }).waitFor();
    await page.evaluate(() => { window.marked = true; });
    await page.locator('h1', { hasText: /(was|were)\ssent/ }).waitFor({ timeout: 60_000 });
    assert.ok(await page.evaluate(() => window.marked), 'without a reload');
    clean(page);
    await page.context().close();
  },

  async 'every page of it in every theme and width'() {
    for (const colorScheme of ['light', 'dark']) {
      const page = await open(browser, base, { colorScheme });
      await still(page);
      await fits(page, base, folder, seen, colorScheme, { fullPage: true });
      clean(page);
      await page.context().close();
    }
  },
});
await browser.close();
