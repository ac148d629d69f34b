CREATE TABLE player (
    id        integer PRIMARY KEY,
    name      text NOT NULL UNIQUE,
    league    smallint NOT NULL,
    country   char(2) NOT NULL,
    joined_on date NOT NULL
);
CREATE INDEX player_by_league ON player (league);

CREATE TABLE session (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    player_id integer NOT NULL REFERENCES player,
    opened_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE match (
    id        integer PRIMARY KEY,
    league    smallint NOT NULL,
    map       text NOT NULL,
    joined    integer NOT NULL DEFAULT 0,
    starts_at timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX match_by_league ON match (league, starts_at);

CREATE TABLE score (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    player_id integer NOT NULL REFERENCES player,
    match_id  integer NOT NULL REFERENCES match,
    league    smallint NOT NULL,
    points    integer NOT NULL CHECK (points >= 0),
    made_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE best (
    player_id integer PRIMARY KEY REFERENCES player,
    points    integer NOT NULL,
    made_at   timestamptz NOT NULL DEFAULT now()
);
