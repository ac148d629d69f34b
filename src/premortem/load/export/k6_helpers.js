class Ended extends Error {}

function pick(data, path) {
  for (const part of path) {
    const key = part === '*' ? Math.floor(Math.random() * data.length) : part;
    if (data === null || typeof data !== 'object' || !(key in data)) {
      throw new Ended(`nothing at ${path.join('.')}`);
    }
    data = data[key];
  }
  return data;
}

function regex(body, pattern, any) {
  const found = [...body.matchAll(new RegExp(pattern, 'g'))];
  if (!found.length) throw new Ended(`nothing matches ${pattern}`);
  const one = found[any ? Math.floor(Math.random() * found.length) : 0];
  return one.length > 1 ? one[1] : one[0];
}

function field(response, name) {
  const tag = response.html().find(`input[name="${name}"], meta[name="${name}"]`).first();
  const value = tag.attr('value') === undefined ? tag.attr('content') : tag.attr('value');
  if (value === undefined) throw new Ended(`the page has no field ${name}`);
  return value;
}

function header(response, name) {
  const key = Object.keys(response.headers).find((k) => k.toLowerCase() === name);
  if (key === undefined) throw new Ended(`no header ${name}`);
  return response.headers[key];
}

function cookie(name) {
  const values = http.cookieJar().cookiesForURL(BASE)[name];
  if (!values) throw new Ended(`no cookie ${name}`);
  return values[0];
}

function between(low, high) {
  return low + Math.floor(Math.random() * (high - low + 1));
}

function uuid() {
  return 'xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx'.replace(/x/g, () => between(0, 15).toString(16));
}

function one(rows) {
  return rows[Math.floor(Math.random() * rows.length)];
}

function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

function chosen(weights) {
  let left = Math.random() * weights.reduce((a, b) => a + b, 0);
  return Math.max(0, weights.findIndex((weight) => (left -= weight) < 0));
}

function form(fields) {
  return Object.entries(fields)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join('&');
}

function asked(method, path, name, body, headers, expect) {
  const options = { headers, tags: { name } };
  if (expect.length) {
    options.responseCallback = http.expectedStatuses({ min: 200, max: 399 }, ...expect);
  }
  const response = http.request(method, BASE + path, body, options);
  const usual = response.status >= 200 && response.status < 400;
  const fine = usual || expect.includes(response.status);
  if (!check(response, { [`${name}: status`]: () => fine })) throw new Ended(name);
  return response;
}

function held(response, words, holds) {
  if (!check(response, { [words]: () => holds })) throw new Ended(words);
}
