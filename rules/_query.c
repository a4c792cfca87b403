/* rules.query.parse_query in C, for ASCII queries whose names are not encoded, as nearly all are; None for the
 * others, which the Python version reads. Measured on a query of the bench: 0.9 us against 6.8 us, of some 75 us
 * that a processor needs for a hit. And what ingest reads of a query, for ASCII ones: ingest.query.split_query in
 * 0.4 us against 2.7 us, without texts of what no hit is asked for, and ingest.identity.visitor_id_from_hex.
 * Optional: where it was not compiled, both do without.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define NAME_SLOTS 1024
#define LONGEST_NAME 32

/* Names repeat from query to query: those seen last are kept, with their hashes. */
typedef struct {
    PyObject *names[NAME_SLOTS];
} State;

static PyObject *
name_of(State *state, const char *text, Py_ssize_t size)
{
    PyObject *name;
    if (size > LONGEST_NAME) {
        return PyUnicode_FromStringAndSize(text, size);
    }
    unsigned int slot = 5381u + (unsigned int)size;
    for (Py_ssize_t at = 0; at < size; at++) {
        slot = slot * 33u ^ (unsigned char)text[at];
    }
    slot %= NAME_SLOTS;
    name = state->names[slot];
    if (name != NULL && PyUnicode_GET_LENGTH(name) == size && memcmp(PyUnicode_1BYTE_DATA(name), text, size) == 0) {
        return Py_NewRef(name);
    }
    name = PyUnicode_FromStringAndSize(text, size);
    if (name != NULL) {
        Py_XSETREF(state->names[slot], Py_NewRef(name));
    }
    return name;
}

static int
digit_of(char character)
{
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    character |= 0x20;
    return character >= 'a' && character <= 'f' ? character - 'a' + 10 : -1;
}

/* Of characters that are ASCII. */
static PyObject *
ascii_text(const char *text, Py_ssize_t size)
{
    if (size < 2) {
        return PyUnicode_FromStringAndSize(text, size); /* which keeps these */
    }
    PyObject *made = PyUnicode_New(size, 127);
    if (made != NULL) {
        memcpy(PyUnicode_1BYTE_DATA(made), text, size);
    }
    return made;
}

/* `+` is a blank; a `%` without two hex digits stays; bytes that are not UTF-8 become U+FFFD. */
static PyObject *
decoded(const char *text, Py_ssize_t size)
{
    char small[1024];
    char *bytes = size <= (Py_ssize_t)sizeof small ? small : PyMem_Malloc(size);
    if (bytes == NULL) {
        return PyErr_NoMemory();
    }
    Py_ssize_t length = 0;
    for (Py_ssize_t at = 0; at < size; at++) {
        char character = text[at];
        if (character == '+') {
            character = ' ';
        }
        else if (character == '%' && size - at > 2) {
            int high = digit_of(text[at + 1]), low = digit_of(text[at + 2]);
            if (high >= 0 && low >= 0) {
                character = (char)(high << 4 | low);
                at += 2;
            }
        }
        bytes[length++] = character;
    }
    PyObject *value = PyUnicode_DecodeUTF8(bytes, length, "replace");
    if (bytes != small) {
        PyMem_Free(bytes);
    }
    return value;
}

static PyObject *
parse_query(PyObject *module, PyObject *query)
{
    if (!PyUnicode_Check(query)) {
        return PyErr_Format(PyExc_TypeError, "expected a str, found %.100s", Py_TYPE(query)->tp_name);
    }
    if (!PyUnicode_IS_ASCII(query)) {
        Py_RETURN_NONE;
    }
    State *state = PyModule_GetState(module);
    const char *at = (const char *)PyUnicode_1BYTE_DATA(query);
    const char *end = at + PyUnicode_GET_LENGTH(query);
    PyObject *params = PyDict_New();
    if (params == NULL) {
        return NULL;
    }
    while (at < end) {
        const char *stop = memchr(at, '&', end - at);
        if (stop == NULL) {
            stop = end;
        }
        const char *equals = at;
        while (equals < stop && *equals != '=') {
            if (*equals == '%' || *equals == '+') {
                Py_DECREF(params);
                Py_RETURN_NONE;
            }
            equals++;
        }
        if (equals > at) {
            const char *value_at = equals < stop ? equals + 1 : stop;
            Py_ssize_t size = stop - value_at;
            int is_encoded = memchr(value_at, '%', size) != NULL || memchr(value_at, '+', size) != NULL;
            PyObject *value = is_encoded ? decoded(value_at, size) : ascii_text(value_at, size);
            PyObject *name = value == NULL ? NULL : name_of(state, at, equals - at);
            int failed = name == NULL || PyDict_SetItem(params, name, value) < 0;
            Py_XDECREF(name);
            Py_XDECREF(value);
            if (failed) {
                Py_DECREF(params);
                return NULL;
            }
        }
        at = stop + 1;
    }
    return params;
}

static PyObject *
split_pairs(PyObject *module, PyObject *query)
{
    if (!PyUnicode_Check(query)) {
        return PyErr_Format(PyExc_TypeError, "expected a str, found %.100s", Py_TYPE(query)->tp_name);
    }
    if (!PyUnicode_IS_ASCII(query)) {
        Py_RETURN_NONE;
    }
    const char *at = (const char *)PyUnicode_1BYTE_DATA(query);
    Py_ssize_t length = PyUnicode_GET_LENGTH(query);
    const char *end = at + length;
    Py_ssize_t pairs = length > 0;
    for (const char *mark = at; (mark = memchr(mark, '&', end - mark)) != NULL; mark++) {
        pairs++;
    }
    char small[1024];
    char *names = length <= (Py_ssize_t)sizeof small ? small : PyMem_Malloc(length);
    if (names == NULL) {
        return PyErr_NoMemory();
    }
    Py_ssize_t size = 0;
    PyObject *key = NULL, *values = PyList_New(pairs + 1);
    if (values == NULL) {
        goto done;
    }
    for (Py_ssize_t place = 0; place < pairs; place++) {
        const char *stop = memchr(at, '&', end - at);
        if (stop == NULL) {
            stop = end;
        }
        const char *equals = memchr(at, '=', stop - at);
        if (equals == NULL) {
            equals = stop;
        }
        if (place > 0) {
            names[size++] = '&';
        }
        memcpy(names + size, at, equals - at);
        size += equals - at;
        const char *value_at = equals < stop ? equals + 1 : stop;
        PyObject *value = ascii_text(value_at, stop - value_at);
        if (value == NULL) {
            goto done;
        }
        PyList_SET_ITEM(values, place, value);
        at = stop + 1;
    }
    PyList_SET_ITEM(values, pairs, Py_NewRef(Py_None));
    key = ascii_text(names, size);
done:
    if (names != small) {
        PyMem_Free(names);
    }
    PyObject *result = key == NULL ? NULL : PyTuple_Pack(2, key, values);
    Py_XDECREF(key);
    Py_XDECREF(values);
    return result;
}

/* A value's place in its query, as array("H") of Python writes it; one that is in no query stands for what is not there. */
typedef uint16_t Place;
#define MOST_PAIRS 128
#define LONGEST_NAMES 2048

typedef struct {
    const char *at;
    Py_ssize_t size;
} Value;

/* The places in item `index` of a plan; their number, -1 when it has none. */
static Py_ssize_t
places_of(PyObject *plan, Py_ssize_t index, const char **places)
{
    PyObject *item = PyTuple_GET_ITEM(plan, index);
    if (!PyBytes_Check(item)) {
        PyErr_SetString(PyExc_TypeError, "expected a plan: a shape and three times places");
        return -1;
    }
    *places = PyBytes_AS_STRING(item);
    return PyBytes_GET_SIZE(item) / (Py_ssize_t)sizeof(Place);
}

static const Value *
value_at(const Value *values, Py_ssize_t pairs, const char *places, Py_ssize_t index)
{
    Place place;
    memcpy(&place, places + index * (Py_ssize_t)sizeof place, sizeof place);
    return place < pairs ? &values[place] : NULL;
}

/* Texts of the values that the plan names first, whether each of the second ones is `1`, whether the third ones are digits. */
static PyObject *
usual_values(PyObject *plan, const Value *values, Py_ssize_t pairs)
{
    const char *texts, *flags, *digits;
    Py_ssize_t text_count = places_of(plan, 1, &texts), flag_count = places_of(plan, 2, &flags),
               digit_count = places_of(plan, 3, &digits);
    if (text_count < 0 || flag_count < 0 || digit_count < 0) {
        return NULL;
    }
    PyObject *made = PyTuple_New(text_count + 2);
    if (made == NULL) {
        return NULL;
    }
    for (Py_ssize_t index = 0; index < text_count; index++) {
        const Value *value = value_at(values, pairs, texts, index);
        PyObject *text = value == NULL ? Py_NewRef(Py_None) : ascii_text(value->at, value->size);
        if (text == NULL) {
            Py_DECREF(made);
            return NULL;
        }
        PyTuple_SET_ITEM(made, index, text);
    }
    PyObject *set = PyUnicode_New(flag_count, 127);
    if (set == NULL) {
        Py_DECREF(made);
        return NULL;
    }
    for (Py_ssize_t index = 0; index < flag_count; index++) {
        const Value *value = value_at(values, pairs, flags, index);
        PyUnicode_1BYTE_DATA(set)[index] = value != NULL && value->size == 1 && *value->at == '1' ? '1' : '0';
    }
    PyTuple_SET_ITEM(made, text_count, set);
    int are_digits = 1;
    for (Py_ssize_t index = 0; index < digit_count; index++) {
        const Value *value = value_at(values, pairs, digits, index);
        for (Py_ssize_t at = 0; value != NULL && at < value->size; at++) {
            are_digits &= value->at[at] >= '0' && value->at[at] <= '9';
        }
    }
    PyTuple_SET_ITEM(made, text_count + 1, Py_NewRef(are_digits ? Py_True : Py_False));
    return made;
}

static PyObject *
split_known(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyUnicode_Check(args[0]) || !PyDict_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "expected a str and a dict");
        return NULL;
    }
    PyObject *query = args[0];
    if (!PyUnicode_IS_ASCII(query)) {
        Py_RETURN_NONE;
    }
    const char *at = (const char *)PyUnicode_1BYTE_DATA(query);
    const char *end = at + PyUnicode_GET_LENGTH(query);
    char names[LONGEST_NAMES];
    Value values[MOST_PAIRS];
    Py_ssize_t pairs = 0, size = 0;
    for (int more = at < end; more; pairs++) {
        const char *stop = memchr(at, '&', end - at);
        more = stop != NULL;
        if (stop == NULL) {
            stop = end;
        }
        const char *equals = memchr(at, '=', stop - at);
        if (equals == NULL) {
            equals = stop;
        }
        if (pairs == MOST_PAIRS || size + (pairs > 0) + (equals - at) > LONGEST_NAMES) {
            Py_RETURN_NONE;
        }
        if (pairs > 0) {
            names[size++] = '&';
        }
        memcpy(names + size, at, equals - at);
        size += equals - at;
        values[pairs].at = equals < stop ? equals + 1 : stop;
        values[pairs].size = stop - values[pairs].at;
        at = stop + 1;
    }
    PyObject *key = ascii_text(names, size);
    if (key == NULL) {
        return NULL;
    }
    PyObject *plan = PyDict_GetItemWithError(args[1], key);
    Py_DECREF(key);
    if (plan == NULL) {
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    if (!PyTuple_Check(plan) || PyTuple_GET_SIZE(plan) != 4) {
        PyErr_SetString(PyExc_TypeError, "expected a plan: a shape and three times places");
        return NULL;
    }
    PyObject *usual = usual_values(plan, values, pairs);
    PyObject *result = usual == NULL ? NULL : PyTuple_Pack(2, PyTuple_GET_ITEM(plan, 0), usual);
    Py_XDECREF(usual);
    return result;
}

static PyObject *
id_of_hex(PyObject *module, PyObject *text)
{
    if (!PyUnicode_Check(text)) {
        return PyErr_Format(PyExc_TypeError, "expected a str, found %.100s", Py_TYPE(text)->tp_name);
    }
    Py_ssize_t size = PyUnicode_GET_LENGTH(text);
    unsigned long long number = 0;
    for (Py_ssize_t at = 0; at < size && at < 16; at++) {
        Py_UCS4 character = PyUnicode_READ_CHAR(text, at);
        int digit = character < 128 ? digit_of((char)character) : -1;
        number = number << 4 | (unsigned int)(digit < 0 ? 0 : digit);
    }
    return PyLong_FromUnsignedLongLong(number);
}

static PyMethodDef methods[] = {
    {"parse_query", parse_query, METH_O, "Decoded values by name; None for a query that this can't read."},
    {"split_pairs", split_pairs, METH_O, "Names joined by &, and values with a None at the end; None when not ASCII."},
    {"split_known", (PyCFunction)(void (*)(void))split_known, METH_FASTCALL,
     "Of a query whose names are in a dict of plans: the shape and its usual values; None for others."},
    {"id_of_hex", id_of_hex, METH_O, "The first 16 characters as a number; what is no hex digit counts as 0."},
    {NULL, NULL, 0, NULL},
};

static int
traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    for (int slot = 0; slot < NAME_SLOTS; slot++) {
        Py_VISIT(state->names[slot]);
    }
    return 0;
}

static int
clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    for (int slot = 0; slot < NAME_SLOTS; slot++) {
        Py_CLEAR(state->names[slot]);
    }
    return 0;
}

static void
release(void *module)
{
    clear(module);
}

static PyModuleDef_Slot slots[] = {{0, NULL}};

static PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "rules._query",
    .m_size = sizeof(State),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = release,
};

PyMODINIT_FUNC
PyInit__query(void)
{
    return PyModuleDef_Init(&definition);
}
