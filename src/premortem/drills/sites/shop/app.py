"""The shop's pages. The queries are what such a page needs, with the indices it should have."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from premortem.drills.sites.database import Connection, Database
from premortem.drills.sites.pages import Form, application, number

__all__ = ["build"]

PAGE = 24
TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)

# One page of a category, best rated first, as shops show it: the order needs every rating.
PRODUCTS = """
SELECT p.id, p.name, p.brand, p.price_cents, count(r.stars) AS reviews,
       coalesce(avg(r.stars), 0)::float AS stars
FROM product p LEFT JOIN review r ON r.product_id = p.id
WHERE p.category_id = %(category)s AND p.stock > 0
GROUP BY p.id
ORDER BY coalesce(avg(r.stars), 0) * ln(1 + count(r.stars)) DESC, p.id
LIMIT %(page)s OFFSET %(skip)s
"""
FACETS = """
SELECT 'brand' AS facet, brand AS value, count(*) AS products
FROM product WHERE category_id = %(category)s AND stock > 0 GROUP BY brand
UNION ALL
SELECT 'price', width_bucket(price_cents, ARRAY[1000, 2500, 5000, 10000, 50000])::text, count(*)
FROM product WHERE category_id = %(category)s AND stock > 0 GROUP BY 2
ORDER BY 1, 3 DESC
"""
RATING = """
SELECT stars, count(*) AS reviews FROM review
WHERE product_id = %(product)s GROUP BY stars ORDER BY stars DESC
"""
REVIEWS = """
SELECT stars, body, written_on FROM review
WHERE product_id = %(product)s ORDER BY written_on DESC LIMIT 5
"""
RELATED = """
SELECT id, name, price_cents FROM product
WHERE category_id = %(category)s AND id <> %(product)s
ORDER BY abs(price_cents - %(price)s) LIMIT 6
"""
TAKE_STOCK = """
UPDATE product p SET stock = p.stock - l.quantity FROM basket_line l
WHERE l.basket_id = %(basket)s AND p.id = l.product_id
RETURNING p.id, l.quantity, p.price_cents
"""


def browse(connection: Connection, request: Request, form: Form) -> Response:
    """A page of a category: products with their ratings, and counts for the filters."""
    category = number(request.path_params, "category")
    page = max(0, min(number(request.query_params, "page"), 20)) if request.query_params else 0
    name = connection.execute("SELECT name FROM category WHERE id = %s", [category]).fetchone()
    if name is None:
        return PlainTextResponse("no such category\n", 404)
    asked = {"category": category, "page": PAGE, "skip": PAGE * page}
    products = connection.execute(PRODUCTS, asked).fetchall()
    facets = connection.execute(FACETS, asked).fetchall()
    return _page("category.html", name=name["name"], products=products, facets=facets)


def product(connection: Connection, request: Request, form: Form) -> Response:
    """A product with its reviews and what else there is at its price."""
    wanted = number(request.path_params, "product")
    row = connection.execute("SELECT * FROM product WHERE id = %s", [wanted]).fetchone()
    if row is None:
        return PlainTextResponse("no such product\n", 404)
    asked = {"product": wanted, "category": row["category_id"], "price": row["price_cents"]}
    return _page(
        "product.html",
        product=row,
        rating=connection.execute(RATING, asked).fetchall(),
        reviews=connection.execute(REVIEWS, asked).fetchall(),
        related=connection.execute(RELATED, asked).fetchall(),
    )


def put_in_basket(connection: Connection, request: Request, form: Form) -> Response:
    """Put a product in a basket, a new one unless the form names one."""
    with connection.transaction():
        if "basket" in form:
            basket = number(form, "basket")
        else:
            opened = "INSERT INTO basket DEFAULT VALUES RETURNING id"
            basket = connection.execute(opened).fetchall()[0]["id"]
        connection.execute(
            "INSERT INTO basket_line VALUES (%s, %s, %s) ON CONFLICT (basket_id, product_id)"
            " DO UPDATE SET quantity = basket_line.quantity + excluded.quantity",
            [basket, number(form, "product"), number(form, "quantity")],
        )
    return JSONResponse({"basket": basket}, 201)


def check_out(connection: Connection, request: Request, form: Form) -> Response:
    """Turn a basket into an order: order, lines and stock in one transaction."""
    basket = number(form, "basket")
    with connection.transaction():
        taken = connection.execute(TAKE_STOCK, {"basket": basket}).fetchall()
        if not taken:
            return PlainTextResponse("the basket is empty\n", 409)
        total = sum(line["quantity"] * line["price_cents"] for line in taken)
        placed = "INSERT INTO orders (basket_id, total_cents) VALUES (%s, %s) RETURNING id"
        order = connection.execute(placed, [basket, total]).fetchall()[0]["id"]
        for line in taken:
            values = [order, line["id"], line["quantity"], line["price_cents"]]
            connection.execute("INSERT INTO order_line VALUES (%s, %s, %s, %s)", values)
        connection.execute("DELETE FROM basket_line WHERE basket_id = %s", [basket])
    return JSONResponse({"order": order, "total_cents": total}, 201)


def _page(template: str, **values: object) -> HTMLResponse:
    return HTMLResponse(TEMPLATES.get_template(template).render(values))


def build(database: Database) -> Starlette:
    """The shop on ``database``."""
    return application(
        database,
        {
            ("GET", "/category/{category}"): browse,
            ("GET", "/product/{product}"): product,
            ("POST", "/basket"): put_in_basket,
            ("POST", "/checkout"): check_out,
        },
    )
