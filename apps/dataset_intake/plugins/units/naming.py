"""Read a column's name: which unit it names, which quantity it means, whether it has no unit at all. Pure."""

import re

#: Unit -> how it is written as the last word of a name. "min" is not among them: it means the least as often.
_SPELLINGS = {
    "nm": "nm",
    "um": "um",
    "mm": "mm",
    "cm": "cm",
    "m": "m meters metres",
    "km": "km",
    "mi": "miles",
    "ft": "ft feet",
    "mg": "mg",
    "g": "grams",
    "kg": "kg",
    "lb": "lb lbs",
    "Pa": "pa",
    "hPa": "hpa",
    "kPa": "kpa",
    "bar": "bar",
    "mbar": "mbar",
    "psi": "psi",
    "degC": "degc celsius",
    "degF": "degf fahrenheit",
    "K": "kelvin",
    "deg": "deg",
    "rad": "rad",
    "ns": "ns",
    "us": "us",
    "ms": "ms",
    "s": "s sec secs seconds",
    "min": "mins minutes",
    "h": "hours",
    "d": "days",
    "Hz": "hz",
    "kHz": "khz",
    "MHz": "mhz",
    "GHz": "ghz",
    "mV": "mv",
    "V": "volt volts",
    "mA": "ma",
    "A": "amp amps",
    "ohm": "ohm ohms",
    "W": "watt watts",
    "kW": "kw",
    "kWh": "kwh",
    "J": "joule joules",
    "kJ": "kj",
    "eV": "ev",
    "mol": "mol",
    "mmol": "mmol",
    "uL": "ul",
    "mL": "ml",
    "L": "l liters litres",
    "%": "pct percent %",
    "ppm": "ppm",
    "ppb": "ppb",
    "dB": "db",
    "dBm": "dbm",
    "USD": "usd",
    "EUR": "eur",
    "GBP": "gbp",
    "B": "bytes",
    "kB": "kb",
    "MB": "mb",
    "GB": "gb",
    "px": "px pixels",
    "rpm": "rpm",
    "mph": "mph",
    "km/h": "kmh kph",
}
_ENDINGS = {word: unit for unit, words in _SPELLINGS.items() for word in words.split()}
#: One letter counts only behind a word for its quantity: `temp_c` has a unit, `vitamin_c` has none.
_LETTERS = {"c": "degC", "f": "degF", "k": "K", "g": "g", "h": "h", "d": "d", "v": "V", "a": "A", "w": "W"}
_BRACKETS = re.compile(r"[\[(]\s*([^\[\]()]{1,24}?)\s*[\])]\s*$")
_SLASH = re.compile(r"^[^/]*[^/\s]\s*/\s*([A-Za-z%°µΩ][\w%°µΩ^*·.-]{0,23})$")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|%")

#: What is counted, numbered, or a pure number, whatever measures it.
_COUNTED = "id ids index idx count counts number num no nr n rank row rows line item items quantity qty cycle run batch"
_NUMBERED = "year month day hour code zip postcode class label level grade version replicate channel seed flag rating"
_PURE = "score ratio fraction probability"
_UNITLESS = frozenset(f"{_COUNTED} {_NUMBERED} {_PURE}".split())

#: Quantity -> its units, the likeliest first.
_QUANTITIES: dict[str, tuple[str, ...]] = {
    "temperature": ("degC", "K", "degF"),
    "pressure": ("Pa", "hPa", "kPa", "bar", "psi"),
    "length": ("m", "mm", "cm", "km", "um", "in", "ft"),
    "mass": ("kg", "g", "mg", "lb"),
    "time": ("s", "ms", "min", "h", "d"),
    "speed": ("m/s", "km/h", "mph"),
    "voltage": ("V", "mV", "kV"),
    "current": ("A", "mA", "uA"),
    "power": ("W", "mW", "kW"),
    "energy": ("J", "kJ", "kWh", "eV"),
    "frequency": ("Hz", "kHz", "MHz"),
    "volume": ("L", "mL", "m3"),
    "angle": ("deg", "rad"),
    "humidity": ("%", "g/m3"),
    "price": ("USD", "EUR", "GBP"),
}
#: Quantity -> further words for it.
_WORDS_FOR = {
    "temperature": "temp temps",
    "length": "height width depth distance diameter radius thickness altitude elevation wavelength rainfall precipitation",
    "mass": "weight",
    "time": "duration elapsed latency delay timeout age",
    "speed": "velocity wind windspeed",
    "angle": "latitude longitude lat lon lng azimuth heading bearing",
    "price": "cost revenue salary",
}
_MEANS = {name: name for name in _QUANTITIES} | {
    word: quantity for quantity, words in _WORDS_FOR.items() for word in words.split()
}


def words_of(name: str) -> list[str]:
    """Return the words of a name, in lower case.

    >>> words_of("roomTemp_C"), words_of("Flow rate 2")
    (['room', 'temp', 'c'], ['flow', 'rate', '2'])
    """
    return [word.lower() for word in _WORDS.findall(name)]


def find_unit(name: str) -> str | None:
    """Return the unit that a column's name says, None where it says none.

    >>> [find_unit(name) for name in ("mass (g)", "speed [m/s]", "p/Pa", "temp_c", "length_mm", "reading", "vitamin_c")]
    ['g', 'm/s', 'Pa', 'degC', 'mm', None, None]
    """
    if found := _BRACKETS.search(name) or _SLASH.match(name):
        return found[1].strip()
    words = words_of(name)
    if words and words[-1] in {"lat", "lon", "lng", "latitude", "longitude"}:
        return "deg"
    if len(words) < 2:
        return None
    letter = _LETTERS.get(words[-1])
    return letter if letter in guess_units(name) else _ENDINGS.get(words[-1])


def is_unitless(name: str) -> bool:
    """Say whether a column holds pure numbers by its name: counts, ids, years.

    >>> is_unitless("sample_id"), is_unitless("n"), is_unitless("pressure")
    (True, True, False)
    """
    words = words_of(name)
    return bool(words) and (words[-1] in _UNITLESS or words[0] in {"n", "num", "count"})


def guess_units(name: str) -> tuple[str, ...]:
    """Return the units that a column's name suggests, the likeliest first; none where it suggests nothing.

    >>> guess_units("room_temp")[0], guess_units("reading")
    ('degC', ())
    """
    for word in reversed(words_of(name)):
        if word in _MEANS:
            return _QUANTITIES[_MEANS[word]]
    return ()
