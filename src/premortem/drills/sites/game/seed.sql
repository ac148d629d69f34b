-- 60,000 players in 8 leagues, 2,400 matches, 240,000 scores; the same every time.
SELECT setseed(0.42);

INSERT INTO player
SELECT n, 'player' || n, n % 8 + 1,
       (ARRAY['GB', 'IE', 'FR', 'DE', 'KE', 'PL', 'US', 'BR'])[1 + floor(random() * 8)::int],
       DATE '2021-01-01' + (random() * 790)::int
FROM generate_series(1, 60000) AS n;

INSERT INTO match
SELECT n, n % 8 + 1, (ARRAY['harbour', 'ridge', 'arena', 'mill'])[n % 4 + 1],
       floor(random() * 64)::int, TIMESTAMPTZ '2023-03-05' + n * INTERVAL '1 minute'
FROM generate_series(1, 2400) AS n;

INSERT INTO score (player_id, match_id, league, points, made_at)
SELECT player, 8 * floor(random() * 300)::int + (CASE WHEN player % 8 = 0 THEN 8 ELSE player % 8 END),
       player % 8 + 1, (10000 * random() * random())::int,
       TIMESTAMPTZ '2023-02-01' + random() * INTERVAL '32 days'
FROM (SELECT 1 + floor(random() * 60000)::int AS player FROM generate_series(1, 240000)) AS played;

INSERT INTO best
SELECT player_id, max(points), max(made_at) FROM score GROUP BY player_id;

CREATE INDEX score_by_league ON score (league, made_at DESC) INCLUDE (player_id, points);
CREATE INDEX score_by_player ON score (player_id, made_at DESC);
