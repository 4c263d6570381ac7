// Looks at messages of the demo shop: the list, one message, its body, and the way from there to its trace.
//
//   node messages.mjs BASE FOLDER

import assert from 'node:assert/strict';
import { clean, fits, launch, open, run, still, visit } from './browser.mjs';

const [base, folder] = process.argv.slice(2);
const browser = await launch();

/** The address of a message that is a dead letter. */
async function dead() {
  const answer = await fetch(`${base}/api/messages?last=1h&queue=orders.dlq`);
  const { messages } = await answer.json();
  assert.ok(messages.length > 0, 'a dead letter was seen');
  return `/messages/${encodeURIComponent(messages[0].id)}`;
}

const letter = await dead();
const pages = { messages: '/messages', message: letter, 'message-text': `${letter}?as=text`, 'message-hex': `${letter}?as=hex`, 'messages-none': '/messages?exchange=nobody' };

await run({
  async 'every page fits every width, light and dark, without an error'() {
    for (const colorScheme of ['light', 'dark']) {
      const page = await open(browser, base, { colorScheme });
      await still(page);
      await fits(page, base, folder, pages, colorScheme);
      clean(page);
      await page.context().close();
    }
  },

  async 'from the list to the message to its trace, and back from the span'() {
    const page = await open(browser, base);
    await still(page);
    await visit(page, `${base}/`);
    await page.locator('header nav').getByRole('link', { name: 'Messages' }).click();
    await page.waitForURL(/\/messages(\?|$)/);
    const row = page.locator('main tr[data-row]', { hasText: 'order.placed' }).first();
    await row.getByRole('link', { name: 'order.placed' }).click();
    await page.waitForURL(/\/messages\/[^?]+/);
    const message = new URL(page.url()).pathname;
    assert.match(await page.locator('h1').innerText(), /order\.placed/);
    assert.match(await page.locator('#body').innerText(), /application\/json/);
    assert.match(await page.locator('.way').innerText(), /exchange orders/);
    await page.locator('main').getByRole('link', { name: 'Its trace' }).click();
    await page.waitForURL(/\/traces\/[0-9a-f]{32}\?.*span=/);
    await page.locator('#panel').getByRole('link', { name: /^Message / }).click();
    await page.waitForURL(url => url.pathname === message);
    await page.locator('main').getByRole('link', { name: /^Whole story/ }).click();
    await page.waitForURL(/\/correlations\//);
    await page.locator('.story').getByRole('link', { name: 'message' }).first().click();
    await page.waitForURL(/\/messages\//);
    clean(page);
    await page.context().close();
  },

  async 'a body folds, shows other forms and is searched without JavaScript'() {
    const page = await open(browser, base, { javaScriptEnabled: false });
    await visit(page, `${base}${letter}`);
    assert.match(await page.locator('h1').innerText(), /dead letter/);
    const fold = page.locator('.body details').first();
    assert.equal(await fold.getAttribute('open'), '');
    await fold.locator('summary').first().click();
    assert.equal(await fold.getAttribute('open'), null);
    assert.match(await fold.locator('summary').first().innerText(), /\d+\skeys?/);
    await page.getByRole('link', { name: 'Hex', exact: true }).click();
    await page.waitForURL(/as=hex/);
    assert.match(await page.locator('.hex').innerText(), /^00000000 {2}7b/);
    await page.getByRole('link', { name: 'JSON', exact: true }).click();
    await page.locator('input[name=find]').fill('order');
    await page.keyboard.press('Enter');
    await page.waitForURL(/find=order/);
    assert.ok(await page.locator('.body li.hit').count() > 0);
    clean(page);
    await page.context().close();
  },

  async 'the search box and the form find a message'() {
    const page = await open(browser, base);
    await still(page);
    const id = decodeURIComponent(letter.slice('/messages/'.length));
    await visit(page, `${base}/messages`);
    await page.keyboard.press('/');
    await page.keyboard.type(id);
    await page.keyboard.press('Enter');
    await page.waitForURL(url => url.pathname === letter);
    await visit(page, `${base}/messages`);
    await page.locator('input[name=queue]').fill('orders.dlq');
    await page.getByRole('button', { name: 'Apply' }).click();
    await page.waitForURL(/queue=orders\.dlq/);
    assert.match(await page.locator('main tbody').innerText(), /dead letter/);
    clean(page);
    await page.context().close();
  },
});
await browser.close();
