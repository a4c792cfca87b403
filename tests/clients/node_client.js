// Sends visits with the package `matomo-tracker`: node node_client.js URL SITE TOKEN.
const MatomoTracker = require('matomo-tracker');
const [url, site, token] = process.argv.slice(2);
const matomo = new MatomoTracker(Number(site), url);
matomo.on('error', (error) => { console.error('answered with', error); process.exitCode = 1; });

const visitor = {
  _id: 'aaaabbbbcccc0002', res: '1920x1080', lang: 'de-de', token_auth: token, cip: '198.51.100.8',
  ua: 'Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0',
};
const items = JSON.stringify([['SKU1', 'Lamp', 'Light', 9.5, 2], ['SKU2', 'Bulb', ['Light', 'Spare'], 1.25, 4]]);
const hits = [
  { url: 'http://shop.example/home', action_name: 'Home ünïcode & more', urlref: 'https://news.example.org/story',
    pf_net: 10, pf_srv: 20, pv_id: 'abcdef' },
  { url: 'http://shop.example/list', action_name: 'List', dimension1: 'gold', dimension2: 'blue',
    cvar: JSON.stringify({ 1: ['plan', 'pro'] }) },
  { url: 'http://shop.example/list', e_c: 'Video', e_a: 'play', e_n: 'intro', e_v: 3 },
  { url: 'http://shop.example/list', c_n: 'Ad', c_p: 'ad.png', c_t: 'http://shop.example/ad' },
  { url: 'http://shop.example/list', c_i: 'click', c_n: 'Ad', c_p: 'ad.png', c_t: 'http://shop.example/ad' },
  { url: 'http://shop.example/list', search: 'lamp', search_cat: 'Light', search_count: 7 },
  { url: 'http://shop.example/a.pdf', download: 'http://shop.example/a.pdf' },
  { url: 'http://other.example/x', link: 'http://other.example/x' },
  { url: 'http://shop.example/list', idgoal: 1, revenue: 5 },
  { url: 'http://shop.example/lamp', action_name: 'Lamp', _pks: 'SKU1', _pkn: 'Lamp', _pkc: 'Light', _pkp: 9.5 },
  { url: 'http://shop.example/lamp', idgoal: 0, revenue: 20, ec_items: items },
  { url: 'http://shop.example/lamp', idgoal: 0, ec_id: 'o-node', revenue: 42.5, ec_st: 30, ec_tx: 5, ec_sh: 7.5,
    ec_dt: 1, ec_items: items, uid: 'alice@example.org' },
  { url: 'http://shop.example/lamp', ping: 1, uid: 'alice@example.org' },
];

// track() takes no callback: the next hit is sent when the answer to this one is there.
const http = require('http');
const get = http.get;
http.get = (...args) => {
  const request = get(...args);
  request.on('response', (answer) => { answer.resume(); answer.on('end', next); });
  return request;
};
function next () {
  const hit = hits.shift();
  if (hit) {
    matomo.track({ ...visitor, ...hit });
    return;
  }
  const other = { _id: 'aaaabbbbcccc0012', ua: 'Mozilla/5.0 (Windows NT 10.0; rv:120.0) Gecko/20100101 Firefox/120.0' };
  matomo.trackBulk([1, 2, 3].map((n) => ({ ...other, url: `http://shop.example/bulk/${n}`, action_name: `Bulk ${n}` })),
    (answer) => console.log(answer));
}
next();
