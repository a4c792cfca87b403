"""Words and numbers as people read them: periods, durations, money, column names. English and German;
other languages get English."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from reporting.generic_filters import php_round
from reporting.method import Unit
from reporting.periods import Period
from reporting.table import Value

THIN = "\u2009"
NARROW = "\u202f"
NBSP = "\u00a0"


@dataclass(frozen=True)
class Language:
    decimal: str
    group: str
    percent: str
    """With {} for the number."""
    money: str
    """With {number} and {symbol}."""
    months: tuple[str, ...]
    months_short: tuple[str, ...]
    days: tuple[str, ...]
    """Monday first."""
    days_short: tuple[str, ...]
    week: str
    day_first: bool


_ENGLISH = Language(
    decimal=".",
    group=",",
    percent="{}%",
    money="{symbol}{number}",
    months=(
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
        "November", "December",
    ),
    months_short=("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    days=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    days_short=("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    week="week",
    day_first=False,
)  # fmt: skip
_GERMAN = Language(
    decimal=",",
    group=".",
    percent="{}" + NBSP + "%",
    money="{number}" + NBSP + "{symbol}",
    months=(
        "Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober",
        "November", "Dezember",
    ),
    months_short=(
        "Jan.", "Feb.", "März", "Apr.", "Mai", "Juni", "Juli", "Aug.", "Sept.", "Okt.", "Nov.", "Dez.",
    ),
    days=("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"),
    days_short=("Mo.", "Di.", "Mi.", "Do.", "Fr.", "Sa.", "So."),
    week="Woche",
    day_first=True,
)  # fmt: skip
LANGUAGES: Mapping[str, Language] = {"en": _ENGLISH, "de": _GERMAN}


def language_of(code: str) -> Language:
    return LANGUAGES.get(code, _ENGLISH)


def _month_day(day: date, words: Language, *, short: bool) -> str:
    months = words.months_short if short else words.months
    return f"{day.day}. {months[day.month - 1]}" if words.day_first else f"{months[day.month - 1]} {day.day}"


def pretty_day(day: date, language: str, *, short: bool = False, year: bool = True) -> str:
    """`Tuesday, January 5, 2010`; short `Tue, Jan 5`."""
    words = language_of(language)
    name = (words.days_short if short else words.days)[day.weekday()]
    text = f"{name}, {_month_day(day, words, short=short)}"
    if not year:
        return text
    return f"{text} {day.year}" if words.day_first else f"{text}, {day.year}"


def pretty_range(start: date, end: date, language: str, *, short: bool = False) -> str:
    """`January 4 – 10, 2010` with thin blanks around the dash; what both ends share is said once."""
    words = language_of(language)
    dash = f"{THIN}–{THIN}"
    months = words.months_short if short else words.months
    first, last = _month_day(start, words, short=short), _month_day(end, words, short=short)
    if words.day_first:
        if start.year != end.year:
            return f"{first} {start.year}{dash}{last} {end.year}"
        if start.month != end.month:
            return f"{first}{dash}{last} {end.year}"
        return f"{start.day}.{dash}{end.day}. {months[end.month - 1]} {end.year}"
    if start.year != end.year:
        return f"{first}, {start.year}{dash}{last}, {end.year}"
    if start.month != end.month:
        return f"{first}{dash}{last}, {end.year}"
    return f"{first}{dash}{end.day}, {end.year}"


def pretty_period(period: Period, language: str) -> str:
    """A period within a sentence: `week January 4 – 10, 2010`, `January 2010`."""
    words = language_of(language)
    match period.kind:
        case "day":
            return pretty_day(period.start, language)
        case "week":
            return f"{words.week} {pretty_range(period.start, period.end, language)}"
        case "month":
            return f"{words.months[period.start.month - 1]} {period.start.year}"
        case "year":
            return str(period.start.year)
        case _:
            return pretty_range(period.start, period.end, language)


def title_period(period: Period, language: str) -> str:
    """The same at the beginning of a line."""
    text = pretty_period(period, language)
    return text[:1].upper() + text[1:]


def short_period(period: Period, language: str) -> str:
    """`Mon, Jan 4`, `Jan 4 – 10, 2010`, `Jan 2010`, `2010`."""
    words = language_of(language)
    match period.kind:
        case "day":
            return pretty_day(period.start, language, short=True, year=False)
        case "month":
            return f"{words.months_short[period.start.month - 1]} {period.start.year}"
        case "year":
            return str(period.start.year)
        case _:
            return pretty_range(period.start, period.end, language, short=True)


def grouped(value: float | int, language: str, minimum_digits: int = 0, maximum_digits: int = 2) -> str:
    """A number with groups of thousands: `1,234.5`."""
    words = language_of(language)
    rounded = php_round(float(value), maximum_digits)
    text = f"{abs(rounded):,.{maximum_digits}f}"
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0").ljust(minimum_digits, "0")
    whole = whole.replace(",", words.group)
    return f"{'-' if rounded < 0 else ''}{whole}{words.decimal + fraction if fraction else ''}"


def pretty_percent(fraction: float | int, language: str) -> str:
    """0.6667 is `66.67%`; at most two digits."""
    return language_of(language).percent.format(grouped(fraction * 100, language))


def pretty_money(value: float | int, currency: str, language: str) -> str:
    """`$255.61`, `$1,500`: two digits or none."""
    rounded = php_round(float(value), 2)
    digits = 0 if rounded == int(rounded) else 2
    number = grouped(abs(rounded), language, digits, digits)
    text = language_of(language).money.format(number=number, symbol=currency_symbol(currency))
    return f"-{text}" if rounded < 0 else text


def pretty_seconds(value: float | int, language: str = "en") -> str:
    """`12 min 53s`, `1 hours 2 min`, `3 days 4 hours`; below a minute with up to two digits."""
    sign = "-" if value < 0 else ""
    amount = abs(float(value))
    if amount < 60:
        return f"{sign}{grouped(amount, language)}s"
    seconds = int(php_round(amount, 0))
    if seconds < 3600:
        return f"{sign}{seconds // 60} min {seconds % 60}s"
    if seconds < 86400:
        return f"{sign}{seconds // 3600} hours {seconds % 3600 // 60} min"
    if seconds < 86400 * 365:
        return f"{sign}{seconds // 86400} days {seconds % 86400 // 3600} hours"
    return f"{sign}{seconds // (86400 * 365)} years {seconds % (86400 * 365) // 86400} days"


def clock(value: float | int) -> str:
    """`00:04:20`."""
    seconds = int(php_round(float(value), 0))
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"


def pretty_bytes(value: float | int, language: str) -> str:
    size = float(value)
    for unit in ("B", "K", "M", "G"):
        if size < 1024:
            return f"{grouped(size, language, 0, 1)} {unit}"
        size /= 1024
    return f"{grouped(size, language, 0, 1)} T"


def format_value(value: Value, unit: Unit, currency: str, language: str) -> Value:
    """A metric as text; what is no number stays as it is."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    if isinstance(value, bool) or value is None or not isinstance(value, (int, float)):
        return value
    match unit:
        case Unit.PERCENT:
            return pretty_percent(value, language)
        case Unit.SECONDS:
            return pretty_seconds(value, language)
        case Unit.CLOCK:
            return clock(value)
        case Unit.SHORT_SECONDS:
            return f"{grouped(value, language, 0, 2)}s"
        case Unit.MONEY:
            return pretty_money(value, currency, language)
        case Unit.BYTES:
            return pretty_bytes(value, language)
        case _:
            return value


CURRENCIES: Mapping[str, tuple[str, str]] = {
    "AED": ("د.إ", "United Arab Emirates Dirham"), "ARS": ("$", "Argentine Peso"),
    "AUD": ("A$", "Australian Dollar"), "BDT": ("৳", "Bangladeshi Taka"), "BGN": ("лв", "Bulgarian Lev"),
    "BRL": ("R$", "Brazilian Real"), "BTC": ("BTC", "Bitcoin"), "CAD": ("CA$", "Canadian Dollar"),
    "CHF": ("Fr", "Swiss Franc"), "CLP": ("$", "Chilean Peso"), "CNY": ("CN¥", "Chinese Yuan"),
    "COP": ("$", "Colombian Peso"), "CRC": ("₡", "Costa Rican Colón"), "CZK": ("Kč", "Czech Koruna"),
    "DKK": ("kr", "Danish Krone"), "DZD": ("د.ج", "Algerian Dinar"), "EGP": ("ج.م", "Egyptian Pound"),
    "EUR": ("€", "Euro"), "GBP": ("£", "British Pound"), "GEL": ("ლ", "Georgian Lari"),
    "GHS": ("₵", "Ghanaian Cedi"), "HKD": ("HK$", "Hong Kong Dollar"), "HUF": ("Ft", "Hungarian Forint"),
    "IDR": ("Rp", "Indonesian Rupiah"), "ILS": ("₪", "Israeli New Shekel"), "INR": ("₹", "Indian Rupee"),
    "ISK": ("kr", "Icelandic Króna"), "JPY": ("¥", "Japanese Yen"), "KES": ("Sh", "Kenyan Shilling"),
    "KRW": ("₩", "South Korean Won"), "KWD": ("د.ك", "Kuwaiti Dinar"), "KZT": ("₸", "Kazakhstani Tenge"),
    "LKR": ("Rs", "Sri Lankan Rupee"), "MAD": ("د.م.", "Moroccan Dirham"), "MXN": ("MX$", "Mexican Peso"),
    "MYR": ("RM", "Malaysian Ringgit"), "NGN": ("₦", "Nigerian Naira"), "NOK": ("kr", "Norwegian Krone"),
    "NZD": ("NZ$", "New Zealand Dollar"), "PEN": ("S/.", "Peruvian Sol"), "PHP": ("₱", "Philippine Peso"),
    "PKR": ("₨", "Pakistani Rupee"), "PLN": ("zł", "Polish Zloty"), "QAR": ("ر.ق", "Qatari Riyal"),
    "RON": ("L", "Romanian Leu"), "RSD": ("дин. or din.", "Serbian Dinar"), "RUB": ("руб.", "Russian Ruble"),
    "SAR": ("ر.س", "Saudi Riyal"), "SEK": ("kr", "Swedish Krona"), "SGD": ("$", "Singapore Dollar"),
    "THB": ("฿", "Thai Baht"), "TND": ("د.ت", "Tunisian Dinar"), "TRY": ("TL", "Turkish Lira"),
    "TWD": ("NT$", "New Taiwan Dollar"), "TZS": ("Sh", "Tanzanian Shilling"),
    "UAH": ("₴", "Ukrainian Hryvnia"), "UGX": ("Sh", "Ugandan Shilling"), "USD": ("$", "US Dollar"),
    "UYU": ("$", "Uruguayan Peso"), "VND": ("₫", "Vietnamese Dong"), "ZAR": ("R", "South African Rand"),
}  # fmt: skip
"""ISO 4217 code -> symbol and English name of the currencies a site may have."""


def currency_symbol(code: str) -> str:
    return CURRENCIES.get(code, (code, code))[0]


def currency_name(code: str) -> str:
    return CURRENCIES.get(code, (code, code))[1]


_COLUMNS: Mapping[str, tuple[str, str]] = {
    "label": ("Label", "Bezeichnung"),
    "date": ("date", "date"),
    "nb_uniq_visitors": ("Unique visitors", "Eindeutige Besucher"),
    "sum_daily_nb_uniq_visitors": ("Unique visitors (daily sum)", "Eindeutige Besucher (Tagessumme)"),
    "nb_users": ("Users", "Benutzer"),
    "nb_visits": ("Visits", "Besuche"),
    "nb_actions": ("Actions", "Aktionen"),
    "nb_visits_converted": ("Visits with Conversions", "Besuche mit Konversionen"),
    "bounce_count": ("Bounces", "Absprünge"),
    "sum_visit_length": (
        "Total time spent by visitors (in seconds)",
        "Von Besuchern verbrachte Gesamtzeit (in Sekunden)",
    ),
    "max_actions": ("Maximum actions in one visit", "Maximale Aktionen pro Besuch"),
    "bounce_rate": ("Bounce Rate", "Absprungsrate"),
    "nb_actions_per_visit": ("Actions per Visit", "Aktionen pro Besuch"),
    "avg_time_on_site": ("Avg. Visit Duration (in seconds)", "Durchschn. Besuchszeit (in Sekunden)"),
    "nb_conversions": ("Conversions", "Konversionen"),
    "conversion_rate": ("Conversion Rate", "Konversionsrate"),
    "revenue": ("Revenue", "Umsatz"),
    "revenue_subtotal": ("Subtotal", "Zwischensumme"),
    "revenue_tax": ("Tax", "Steuer"),
    "revenue_shipping": ("Shipping", "Versand"),
    "revenue_discount": ("Discount", "Rabatt"),
    "nb_pageviews": ("Pageviews", "Seitenansichten"),
    "nb_hits": ("Pageviews", "Seitenansichten"),
    "sum_time_spent": (
        "Total time spent by visitors (in seconds)",
        "Von Besuchern verbrachte Gesamtzeit (in Sekunden)",
    ),
    "avg_time_on_page": ("Avg. time on page", "Durchschnittliche Zeit auf der Seite"),
    "exit_rate": ("Exit rate", "Ausstiegsrate"),
    "nb_events": ("Events", "Ereignisse"),
    "nb_events_with_value": ("Events with a value", "Ereignisse mit einem Wert"),
    "sum_event_value": ("Event value", "Ereigniswert"),
    "min_event_value": ("Minimum Event value", "Minimaler Ereigniswert"),
    "max_event_value": ("Maximum Event value", "Maximaler Ereigniswert"),
    "avg_event_value": ("Average Event value", "Durchschnittlicher Ereigniswert"),
    "nb_impressions": ("Impressions", "Impressionen"),
    "nb_interactions": ("Content Interactions", "Inhaltsinteraktionen"),
    "interaction_rate": ("Interaction Rate", "Interaktionsrate"),
    "nb_downloads": ("Downloads", "Downloads"),
    "nb_outlinks": ("Outlinks", "Ausgehende Verweise"),
    "nb_searches": ("Searches", "Suchen"),
    "quantity": ("Quantity", "Menge"),
    "orders": ("Unique Purchases", "Einzelne Käufe"),
    "avg_price": ("Average Price", "Durchschnittspreis"),
    "avg_quantity": ("Average Quantity", "Durchschnittliche Menge"),
    "visits_evolution": ("Visits Evolution", "Entwicklung der Besuche"),
    "actions_evolution": ("Actions Evolution", "Entwicklung der Aktionen"),
    "pageviews_evolution": ("Pageviews Evolution", "Entwicklung der Seitenansichten"),
    "revenue_evolution": ("Revenue Evolution", "Entwicklung des Umsatzes"),
}


def has_title(name: str) -> bool:
    """Whether a column is known in words, in every language there is."""
    return name in _COLUMNS


def column_title(name: str, language: str) -> str:
    """A column in words; unknown names stay. `goals_idgoal=1_revenue` is `Revenue (Goal idgoal=1)`, metadata
    is `Metadata: segment`."""
    if name.startswith("metadata_"):
        prefix = "Metadaten" if language == "de" else "Metadata"
        return f"{prefix}: {name.removeprefix('metadata_')}"
    if name.startswith("goals_idgoal="):
        goal, _, metric = name.removeprefix("goals_idgoal=").partition("_")
        word = "Ziel" if language == "de" else "Goal"
        return f"{column_title(metric, language)} ({word} idgoal={goal})"
    titles = _COLUMNS.get(name)
    if titles is None:
        return name
    return titles[1] if language == "de" else titles[0]
