// Looks at every page of a dashboard that runs with the demo shop, and saves what it saw.
//
//   node pages.mjs BASE FOLDER

import assert from 'node:assert/strict';
import { Validator } from '@seriousme/openapi-schema-validator';
import { clean, fits, launch, open, run, still, visit } from './browser.mjs';

const [base, folder] = process.argv.slice(2);
const browser = await launch();

/** The story of an order that ended among the dead letters, as the Overview links it. */
async function deadLettered(page) {
  await visit(page, `${base}/`);
  const row = page.locator('tr[data-failed]', { hasText: 'orders.dlq' }).first();
  return row.locator('a[href^="/correlations/"]').first();
}

/** The pages with addresses of this run. */
async function addresses() {
  const page = await open(browser, base);
  const story = await (await deadLettered(page)).getAttribute('href');
  await visit(page, `${base}${story}`);
  const trace = await page.locator('main a[href^="/traces/"]').first().getAttribute('href');
  await page.context().close();
  return {
    overview: '/',
    traces: '/traces',
    logs: '/logs',
    breakers: '/breakers',
    queues: '/queues',
    queue: '/queues/one?broker=throughline&vhost=%2F&name=orders.dlq',
    trace,
    correlation: story,
    map: '/map',
    'map-node': '/map?node=payments',
    'map-edge': '/map?caller=service:payments&callee=service:bank',
    services: '/services',
    service: '/services/payments',
    search: '/search?q=nothing-like-this',
    status: '/status',
    api: '/api',
  };
}

const pages = await addresses();

await run({
  async 'every page fits every width, light and dark, without an error'() {
    for (const colorScheme of ['light', 'dark']) {
      const page = await open(browser, base, { colorScheme });
      await fits(page, base, folder, pages, colorScheme);
      const [r, g, b] = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number));
      assert.equal((r + g + b) / 3 < 100, colorScheme === 'dark', `background of the ${colorScheme} theme: ${r} ${g} ${b}`);
      clean(page);
      await page.context().close();
    }
  },

  async 'the document of /api is OpenAPI 3.1, and the examples on its page answer as JSON'() {
    const document = await (await fetch(`${base}/api/openapi.json`)).json();
    const told = await new Validator().validate(document);
    assert.ok(told.valid, JSON.stringify(told.errors, null, 1));
    const page = await open(browser, base);
    await visit(page, `${base}/api`);
    const links = await page.locator('.op a').evaluateAll((all) => all.map((one) => one.getAttribute('href')));
    assert.ok(links.length > 10, `${links}`);
    for (const link of links) {
      const answer = await fetch(base + link);
      assert.equal(answer.status, 200, `${link}: ${await answer.clone().text()}`);
      assert.match(answer.headers.get('content-type'), /json|csv/, link);
    }
    clean(page);
    await page.context().close();
  },

  async 'two clicks lead from the Overview to the cause of a failed order'() {
    const page = await open(browser, base);
    await still(page);
    await (await deadLettered(page)).click();
    await page.waitForURL('**/correlations/**');
    assert.match(await page.locator('h1').innerText(), /orders\.dlq/);
    await page.locator('main .lede a[href*="span="]').first().click();
    await page.waitForURL(/\/traces\/[0-9a-f]{32}\?.*span=/);
    assert.match(await page.locator('main').innerText(), /card_declined/);
    clean(page);
    await page.context().close();
  },

  async 'the map leads to the failed traces of a call, and to a service and its operations'() {
    const page = await open(browser, base);
    await still(page);
    await visit(page, `${base}/map`);
    // In the drawing, by keyboard: an edge is a link.
    const edge = page.locator('.map a.edge[aria-label^="payments to bank"]');
    await edge.focus();
    await page.keyboard.press('Enter');
    await page.locator('#panel').waitFor();
    assert.match(await page.locator('#panel').innerText(), /Newest failed traces/);
    await page.keyboard.press('Escape');
    await page.locator('#panel').waitFor({ state: 'detached' });
    await page.locator('.map a.node[aria-label^="payments, service"] text').first().click();
    // What lies far to the right is brought into sight when it is opened, and stays there.
    await visit(page, `${base}/map?node=notifications`);
    const at = () => page.locator('.map').evaluate(map => map.scrollLeft);
    assert.ok(await at() > 0, 'the map scrolls to the node');
    const before = await at();
    await page.locator('.map a.node[aria-label^="notifications.email, queue"] text').first().click();
    await page.waitForURL(/node=queue/);
    assert.equal(await at(), before, 'and keeps its place');
    await visit(page, `${base}/map?node=payments`);
    await page.locator('#panel').getByRole('link', { name: 'Focus on neighbours' }).click();
    await page.waitForURL(/focus=/);
    assert.equal(await page.locator('.map a.node[aria-label^="users, service"]').count(), 0, 'users is no neighbour');
    // The table holds every edge that is drawn.
    const [drawn, listed] = [await page.locator('.map a.edge').count(), await page.locator('#table tbody tr').count()];
    assert.ok(drawn > 2 && listed >= drawn, `${drawn} edges are drawn, ${listed} listed`);
    await page.locator('#panel').getByRole('link', { name: 'Open the service' }).click();
    await page.waitForURL('**/services/payments*');
    await page.getByRole('link', { name: 'newest failed' }).first().click();
    await page.waitForURL(/\/traces\?.*query=/);
    assert.ok(await page.locator('main tbody tr[data-failed]').count() > 0, 'failed traces of the operation');
    clean(page);
    await page.context().close();
  },

  async 'the keyboard alone is enough'() {
    const page = await open(browser, base);
    await still(page);
    await visit(page, `${base}/traces`);
    await page.keyboard.press('/');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'search');
    const id = decodeURIComponent(pages.correlation.split('/')[2].split('?')[0]);
    await page.keyboard.type(id);
    await page.keyboard.press('Enter');
    await page.waitForURL(`**/correlations/${encodeURIComponent(id)}*`);
    await visit(page, `${base}/traces`);
    await page.keyboard.press('j');
    await page.keyboard.press('j');
    const chosen = await page.evaluate(() => document.activeElement.closest('tr') === document.querySelectorAll('main tbody tr:has(a)')[1]);
    assert.ok(chosen, 'j goes to the second row');
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/traces\/[0-9a-f]{32}/);
    await page.keyboard.press('?');
    await page.locator('dialog#keys[open]').waitFor();
    await page.keyboard.press('Escape');
    await page.locator('dialog#keys:not([open])').waitFor({ state: 'attached' });
    clean(page);
    await page.context().close();
  },

  async 'the theme can be chosen and stays'() {
    const page = await open(browser, base, { colorScheme: 'light' });
    await visit(page, `${base}/`);
    await page.locator('#theme-switch').click();
    await page.locator('#theme-switch').click();
    assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark');
    await visit(page, `${base}/traces`);
    assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark');
    clean(page);
    await page.context().close();
  },

  async 'everything can be reached without JavaScript'() {
    const page = await open(browser, base, { javaScriptEnabled: false });
    await (await deadLettered(page)).click();
    await page.waitForURL('**/correlations/**');
    await page.locator('main a[href^="/traces/"]').first().click();
    await page.waitForURL(/\/traces\/[0-9a-f]{32}/);
    assert.ok(await page.locator('main a[href*="span="]').count() > 0, 'spans are links');
    await page.goto(`${base}/traces`);
    await page.locator('select[name=status]').selectOption('error');
    await page.getByRole('button', { name: 'Apply' }).click();
    await page.waitForURL(/status=error/);
    const rows = await page.locator('main tbody tr:has(th)').count();
    const failed = await page.locator('main tbody tr[data-failed]').count();
    assert.ok(rows > 0 && rows === failed, `${failed} of ${rows} traces failed, where only failed ones were asked for`);
    await page.locator('#search').fill('gateway');
    await page.locator('#search').press('Enter');
    await page.waitForURL('**/services/gateway*');
    await visit(page, `${base}/map`);
    await page.locator('#table tbody tr').first().getByRole('link').last().click();
    await page.locator('#panel').waitFor();
    await visit(page, `${base}/status`);
    clean(page);
    await page.context().close();
  },
});
await browser.close();
