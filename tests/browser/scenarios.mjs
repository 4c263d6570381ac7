// Switches a failure of the demo shop on by its button, and sees it on the Map.
//
//   node scenarios.mjs BASE FOLDER

import assert from 'node:assert/strict';
import { clean, fits, launch, open, run, still, visit } from './browser.mjs';

const [base, folder] = process.argv.slice(2);
const browser = await launch();

/** Screenshots of a page in every theme and width; nothing reaches beyond the right edge. */
async function shots(name, address) {
  for (const colorScheme of ['light', 'dark']) {
    const page = await open(browser, base, { colorScheme });
    await still(page);
    await fits(page, base, folder, { [name]: address }, colorScheme, { fullPage: true });
    clean(page);
    await page.context().close();
  }
}

await run({
  async 'the Overview leads to the failures, and a button switches one on'() {
    const page = await open(browser, base);
    await still(page);
    await visit(page, `${base}/`);
    await page.getByRole('link', { name: 'Switch on a failure' }).click();
    await page.locator('h1', { hasText: 'Nothing is switched on' }).waitFor();
    await page.getByRole('button', { name: 'Switch on Payment outage' }).click();
    await page.locator('h1', { hasText: 'Payment outage is on' }).waitFor();
    assert.match(await page.locator('#payment-outage .badge').innerText(), /on, .* left/);
    await page.getByRole('link', { name: 'Look at it during Payment outage' }).click();
    await page.waitForURL(/\/map\?/);
    clean(page);
    await page.context().close();
    await shots('scenarios', '/scenarios');
  },

  async 'the breaker opens on the edge that it guards'() {
    const page = await open(browser, base);
    await still(page);
    const mark = page.locator('.map .guard.err', { hasText: 'breaker payments: open' });
    const deadline = Date.now() + 60_000;
    do {
      assert.ok(Date.now() < deadline, 'no open breaker on the Map within a minute');
      await visit(page, `${base}/map`);
    } while (await mark.count() === 0);
    await mark.click();
    await page.waitForURL(/caller=service%3Aorders&callee=service%3Apayments/);
    const panel = page.locator('#panel');
    assert.match(await panel.innerText(), /Breaker[\s\S]*payments[\s\S]*open/);
    await shots('map-breaker', '/map');
    await shots('map-breaker-edge', '/map?caller=service:orders&callee=service:payments');
    await shots('service-breakers', '/services/orders');
    await panel.getByRole('link', { name: 'payments', exact: true }).last().click();
    await page.waitForURL(/\/breakers\/one\?service=orders&name=payments/);
    await page.getByRole('link', { name: 'On the map' }).click();
    await page.waitForURL(/\/map\?focus=service%3Aorders/);
    await page.locator('#panel').waitFor();
    clean(page);
    await page.context().close();
  },

  async 'without JavaScript it is switched off again'() {
    const page = await open(browser, base, { javaScriptEnabled: false });
    await page.goto(`${base}/scenarios`);
    await page.getByRole('button', { name: 'Switch off Payment outage' }).click();
    await page.locator('h1', { hasText: 'Nothing is switched on' }).waitFor();
    clean(page);
    await page.context().close();
  },
});
await browser.close();
