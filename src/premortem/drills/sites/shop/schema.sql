CREATE TABLE category (
    id   integer PRIMARY KEY,
    slug text NOT NULL UNIQUE,
    name text NOT NULL
);

CREATE TABLE product (
    id          integer PRIMARY KEY,
    category_id integer NOT NULL REFERENCES category,
    brand       text NOT NULL,
    name        text NOT NULL,
    price_cents integer NOT NULL CHECK (price_cents > 0),
    stock       integer NOT NULL CHECK (stock >= 0),
    added_on    date NOT NULL
);
CREATE INDEX product_by_category ON product (category_id, price_cents);

CREATE TABLE review (
    id         integer PRIMARY KEY,
    product_id integer NOT NULL REFERENCES product,
    stars      smallint NOT NULL CHECK (stars BETWEEN 1 AND 5),
    body       text NOT NULL,
    written_on date NOT NULL
);

CREATE TABLE basket (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    opened_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE basket_line (
    basket_id  bigint NOT NULL REFERENCES basket,
    product_id integer NOT NULL REFERENCES product,
    quantity   integer NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (basket_id, product_id)
);

CREATE TABLE orders (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    basket_id   bigint,
    total_cents bigint NOT NULL,
    placed_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX orders_by_time ON orders (placed_at);

CREATE TABLE order_line (
    order_id    bigint NOT NULL REFERENCES orders,
    product_id  integer NOT NULL REFERENCES product,
    quantity    integer NOT NULL,
    price_cents integer NOT NULL,
    PRIMARY KEY (order_id, product_id)
);
CREATE INDEX order_line_by_product ON order_line (product_id);
