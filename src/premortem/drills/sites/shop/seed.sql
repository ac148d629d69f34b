-- 60,000 products in 16 categories, 240,000 reviews, 30,000 orders; the same every time.
SELECT setseed(0.42);

INSERT INTO category
SELECT n, 'category-' || n, initcap(word) || ' ' || n
FROM generate_series(1, 16) AS n,
     LATERAL (SELECT (ARRAY['garden', 'kitchen', 'travel', 'sport', 'office', 'music'])[n % 6 + 1] AS word) AS w;

INSERT INTO product
SELECT n,
       (n - 1) / 3750 + 1,  -- a catalogue is loaded category by category
       'Brand ' || floor(random() * random() * 25)::int,
       (ARRAY['Plain', 'Large', 'Light', 'Folding', 'Quiet', 'Classic'])[n % 6 + 1] || ' thing ' || n,
       (300 + random() * random() * 90000)::int,
       100000,
       DATE '2021-01-01' + (random() * 780)::int
FROM generate_series(1, 60000) AS n;

INSERT INTO review
SELECT n,
       1 + floor(random() * 60000)::int,
       1 + floor(sqrt(random()) * 5)::int,
       'Bought it in spring, used it for ' || floor(random() * 90)::int || ' days. '
           || repeat('It does what it should. ', 1 + (random() * 3)::int),
       DATE '2022-01-01' + (random() * 420)::int
FROM generate_series(1, 240000) AS n;

INSERT INTO orders (total_cents, placed_at)
SELECT (500 + random() * 40000)::int, TIMESTAMPTZ '2023-01-01' + random() * INTERVAL '59 days'
FROM generate_series(1, 30000);

INSERT INTO order_line
SELECT id, product_id, 1 + (random() * 2)::int, 300 + (random() * 9000)::int
FROM orders, LATERAL (
    SELECT DISTINCT 1 + floor(random() * 60000)::int AS product_id
    FROM generate_series(1, 2 + (orders.id % 2)::int)
) AS picked;

CREATE INDEX review_by_product ON review (product_id, written_on DESC) INCLUDE (stars);
