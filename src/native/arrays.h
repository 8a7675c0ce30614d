// Arrays of NumPy as C++ sees them, named tuples of them as structs, and arrays that are returned.
//
// A kernel is a plain function. Its arguments are views (`Vector`, `Matrix`, `Cube`) of arrays that
// Python owns, C-contiguous and of exactly the type that is asked for: nothing is ever copied or
// converted, so what is written arrives; a view of `const` elements also takes read-only arrays.
// It runs without the interpreter's lock (`kernel` binds it so), and must not touch Python.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace nb = nanobind;

// Before a function whose loops gain from wider vectors: it is compiled for them too, and which is
// taken is decided when the module is loaded. The bits are the same, as nothing is reordered, but
// in the files that CMakeLists.txt lets add in any order.
#if defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && defined(__x86_64__) && \
    defined(__GLIBC__)
#define WIDE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WIDE
#endif

// Before what such a function calls in its loops.
#ifdef _MSC_VER
#define INLINED __forceinline
#else
#define INLINED inline __attribute__((always_inline))
#endif

namespace whence {

template <class T>
struct Vector {
    T* data = nullptr;
    int64_t size = 0;

    Vector() = default;
    Vector(T* data, int64_t size) : data(data), size(size) {}
    // What may be written may also be read.
    template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
    Vector(const Vector<U>& other) : data(other.data), size(other.size) {}

    template <class I>
    T& operator[](I i) const {
        return data[i];
    }
    T* begin() const { return data; }
    T* end() const { return data + size; }
    Vector slice(int64_t first, int64_t last) const { return {data + first, last - first}; }
    void fill(const std::remove_const_t<T>& value) const { std::fill(begin(), end(), value); }
};

template <class T>
struct Matrix {
    T* data = nullptr;
    int64_t rows = 0, columns = 0;

    Matrix() = default;
    Matrix(T* data, int64_t rows, int64_t columns) : data(data), rows(rows), columns(columns) {}
    template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
    Matrix(const Matrix<U>& other) : data(other.data), rows(other.rows), columns(other.columns) {}

    T& operator()(int64_t i, int64_t j) const { return data[i * columns + j]; }
    Vector<T> operator[](int64_t i) const { return {data + i * columns, columns}; }
    void fill(const std::remove_const_t<T>& value) const {
        std::fill(data, data + rows * columns, value);
    }
};

template <class T>
struct Cube {
    T* data = nullptr;
    int64_t planes = 0, rows = 0, columns = 0;

    Cube() = default;
    Cube(T* data, int64_t planes, int64_t rows, int64_t columns)
        : data(data), planes(planes), rows(rows), columns(columns) {}
    template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
    Cube(const Cube<U>& other)
        : data(other.data), planes(other.planes), rows(other.rows), columns(other.columns) {}

    T& operator()(int64_t h, int64_t i, int64_t j) const {
        return data[(h * rows + i) * columns + j];
    }
    Matrix<T> operator[](int64_t h) const { return {data + h * rows * columns, rows, columns}; }
};

struct Free {
    void operator()(void* address) const noexcept { std::free(address); }
};

template <class T>
using Owned = std::unique_ptr<T[], Free>;

// Memory for n elements: not set, or all zero, which costs nothing where it is not touched.
template <class T>
Owned<T> allocated(int64_t n, bool zero) {
    const size_t size = static_cast<size_t>(n > 0 ? n : 1);
    if (n < 0 || size > PTRDIFF_MAX / sizeof(T)) throw std::bad_alloc();
    void* memory = zero ? std::calloc(size, sizeof(T)) : std::malloc(size * sizeof(T));
    if (memory == nullptr) throw std::bad_alloc();
    return Owned<T>(static_cast<T*>(memory));
}

template <class T>
Owned<T> filled(int64_t n, const T& value) {
    static const T zero{};
    if (std::memcmp(&value, &zero, sizeof(T)) == 0) return allocated<T>(n, true);
    Owned<T> made = allocated<T>(n, false);
    std::fill(made.get(), made.get() + n, value);
    return made;
}

// Number of elements of a table, which may be more than can be counted.
inline int64_t table_size(int64_t rows, int64_t columns) {
    if (columns > 0 && rows > PTRDIFF_MAX / columns) throw std::bad_alloc();
    return rows * columns;
}

// Part of a larger array: elements of a row lie side by side, rows and planes need not.
template <class T>
struct Slices {
    T* data = nullptr;
    int64_t planes = 0, rows = 0, columns = 0, plane_step = 0, row_step = 0;

    T* row(int64_t h, int64_t i) const { return data + h * plane_step + i * row_step; }
};

// Arrays that C++ owns; they can be returned, and become NumPy arrays without a copy.
template <class T>
struct Array {
    Owned<T> values;
    int64_t size = 0;

    Array() = default;
    explicit Array(int64_t size) : values(allocated<T>(size, false)), size(size) {}
    Array(int64_t size, const T& value) : values(filled(size, value)), size(size) {}

    template <class I>
    T& operator[](I i) {
        return values[i];
    }
    template <class I>
    const T& operator[](I i) const {
        return values[i];
    }
    T* begin() { return values.get(); }
    T* end() { return values.get() + size; }
    const T* begin() const { return values.get(); }
    const T* end() const { return values.get() + size; }
    Vector<T> view() { return {values.get(), size}; }
    Vector<const T> view() const { return {values.get(), size}; }
    Vector<T> slice(int64_t first, int64_t last) { return view().slice(first, last); }
    operator Vector<T>() { return view(); }
    operator Vector<const T>() const { return view(); }
    // Forget what comes after the first n elements.
    Array&& shortened(int64_t n) && {
        size = n;
        return std::move(*this);
    }
};

template <class T>
struct Grid {
    Owned<T> values;
    int64_t rows = 0, columns = 0;

    Grid() = default;
    Grid(int64_t rows, int64_t columns)
        : values(allocated<T>(table_size(rows, columns), false)), rows(rows), columns(columns) {}
    Grid(int64_t rows, int64_t columns, const T& value)
        : values(filled(table_size(rows, columns), value)), rows(rows), columns(columns) {}

    T& operator()(int64_t i, int64_t j) { return values[i * columns + j]; }
    const T& operator()(int64_t i, int64_t j) const { return values[i * columns + j]; }
    Matrix<T> view() { return {values.get(), rows, columns}; }
    Vector<T> operator[](int64_t i) { return {values.get() + i * columns, columns}; }
    operator Matrix<T>() { return view(); }
    operator Matrix<const T>() const { return {values.get(), rows, columns}; }
};

template <class T>
Array<T> copied(const std::vector<T>& values) {
    Array<T> copy(static_cast<int64_t>(values.size()));
    std::copy(values.begin(), values.end(), copy.begin());
    return copy;
}

// Bind a kernel, to run without the interpreter's lock.
template <class F>
void kernel(nb::module_& module, const char* name, F function) {
    module.def(name, function, nb::call_guard<nb::gil_scoped_release>());
}

// The layouts of structs, so that a test can compare them with Python's named tuples.
inline std::vector<std::pair<const char*, const char*>>& layouts() {
    static std::vector<std::pair<const char*, const char*>> known;
    return known;
}

// In a struct that mirrors a named tuple: FIELDS(first, second, ...), in the order of the tuple.
#define FIELDS(...)                                          \
    static constexpr const char* field_names = #__VA_ARGS__; \
    auto fields() { return std::tie(__VA_ARGS__); }

// Note a struct's layout under the name of its named tuple.
template <class T>
void note_layout(const char* name) {
    layouts().emplace_back(name, T::field_names);
}

namespace detail {

template <class T, class = void>
struct HasFields : std::false_type {};
template <class T>
struct HasFields<T, std::void_t<decltype(T::field_names)>> : std::true_type {};

// Whether a buffer's format is that of T, by kind and size.
template <class T>
bool is_format(const char* format, Py_ssize_t size) {
    if (size != static_cast<Py_ssize_t>(sizeof(T)) || format == nullptr) return false;
    if (*format == '@' || *format == '=' || *format == '<') ++format;
    if (format[0] == 0 || format[1] != 0) return false;
    const std::string_view kinds = std::is_same_v<T, bool>       ? "?"
                                   : std::is_floating_point_v<T> ? "fd"
                                   : std::is_signed_v<T>         ? "bhilqn"
                                                                 : "BHILQN";
    return kinds.find(format[0]) != std::string_view::npos;
}

// Its address and lengths. The array outlives the call: the caller holds it.
template <class T>
bool look_at(PyObject* source, int dimensions, void*& data, int64_t* lengths) {
    using Element = std::remove_const_t<T>;
    Py_buffer buffer;
    const int flags = PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | (std::is_const_v<T> ? 0 : PyBUF_WRITABLE);
    if (PyObject_GetBuffer(source, &buffer, flags) != 0) {
        PyErr_Clear();
        return false;
    }
    const bool fits =
        buffer.ndim == dimensions && is_format<Element>(buffer.format, buffer.itemsize);
    data = buffer.buf;
    for (int axis = 0; fits && axis < dimensions; ++axis) lengths[axis] = buffer.shape[axis];
    PyBuffer_Release(&buffer);
    return fits;
}

// A number or a truth value of Python or NumPy.
template <class T>
bool read_scalar(PyObject* source, T& value) {
    if constexpr (std::is_same_v<T, bool>) {
        const int truth = PyObject_IsTrue(source);
        value = truth == 1;
        if (truth < 0) PyErr_Clear();
        return truth >= 0;
    } else if constexpr (std::is_floating_point_v<T>) {
        const double number = PyFloat_AsDouble(source);
        if (number == -1.0 && PyErr_Occurred()) return PyErr_Clear(), false;
        value = static_cast<T>(number);
        return true;
    } else {
        PyObject* whole = PyNumber_Index(source);
        if (whole == nullptr) return PyErr_Clear(), false;
        if constexpr (std::is_signed_v<T>)
            value = static_cast<T>(PyLong_AsLongLong(whole));
        else
            value = static_cast<T>(PyLong_AsUnsignedLongLong(whole));
        Py_DECREF(whole);
        if (PyErr_Occurred()) return PyErr_Clear(), false;
        return true;
    }
}

template <class T>
bool read_field(PyObject* source, uint8_t flags, nb::detail::cleanup_list* cleanup, T& value) {
    if constexpr (std::is_arithmetic_v<T>) {
        return read_scalar(source, value);
    } else {
        nb::detail::make_caster<T> caster;
        if (!caster.from_python(source, flags, cleanup)) return false;
        value = caster.value;
        return true;
    }
}

// Hand an array over to NumPy.
template <class T>
nb::handle handed_over(Owned<T> values, std::initializer_list<size_t> shape, nb::rv_policy,
                       nb::detail::cleanup_list* cleanup) {
    T* data = values.release();
    nb::capsule owner(data, [](void* address) noexcept { std::free(address); });
    nb::ndarray<nb::numpy, T> array(data, shape, owner);
    nb::object made = nb::steal(nb::detail::make_caster<nb::ndarray<nb::numpy, T>>::from_cpp(
        array, nb::rv_policy::reference, cleanup));
    if constexpr (std::is_same_v<T, int64_t>) {
        // It is made as "long long", which NumPy tells from its own int64 where that is "long".
        return PyObject_CallMethod(made.ptr(), "view", "s", "int64");
    }
    return made.release();
}

}  // namespace detail
}  // namespace whence

namespace nanobind::detail {

template <class T>
struct type_caster<whence::Vector<T>> {
    NB_TYPE_CASTER(whence::Vector<T>, const_name("numpy.ndarray"))
    bool from_python(handle source, uint8_t, cleanup_list*) noexcept {
        void* data;
        int64_t n[1];
        if (!whence::detail::look_at<T>(source.ptr(), 1, data, n)) return false;
        value = {static_cast<T*>(data), n[0]};
        return true;
    }
};

template <class T>
struct type_caster<whence::Matrix<T>> {
    NB_TYPE_CASTER(whence::Matrix<T>, const_name("numpy.ndarray"))
    bool from_python(handle source, uint8_t, cleanup_list*) noexcept {
        void* data;
        int64_t n[2];
        if (!whence::detail::look_at<T>(source.ptr(), 2, data, n)) return false;
        value = {static_cast<T*>(data), n[0], n[1]};
        return true;
    }
};

template <class T>
struct type_caster<whence::Cube<T>> {
    NB_TYPE_CASTER(whence::Cube<T>, const_name("numpy.ndarray"))
    bool from_python(handle source, uint8_t, cleanup_list*) noexcept {
        void* data;
        int64_t n[3];
        if (!whence::detail::look_at<T>(source.ptr(), 3, data, n)) return false;
        value = {static_cast<T*>(data), n[0], n[1], n[2]};
        return true;
    }
};

template <class T>
struct type_caster<whence::Slices<T>> {
    NB_TYPE_CASTER(whence::Slices<T>, const_name("numpy.ndarray"))
    bool from_python(handle source, uint8_t, cleanup_list*) noexcept {
        Py_buffer buffer;
        const int flags = PyBUF_FORMAT | PyBUF_STRIDES | (std::is_const_v<T> ? 0 : PyBUF_WRITABLE);
        if (PyObject_GetBuffer(source.ptr(), &buffer, flags) != 0) {
            PyErr_Clear();
            return false;
        }
        constexpr Py_ssize_t size = sizeof(T);
        const bool fits =
            buffer.ndim == 3 &&
            whence::detail::is_format<std::remove_const_t<T>>(buffer.format, buffer.itemsize) &&
            (buffer.strides[2] == size || buffer.shape[2] < 2) && buffer.strides[1] % size == 0 &&
            buffer.strides[0] % size == 0;
        if (fits)
            value = {static_cast<T*>(buffer.buf),
                     buffer.shape[0],
                     buffer.shape[1],
                     buffer.shape[2],
                     buffer.strides[0] / size,
                     buffer.strides[1] / size};
        PyBuffer_Release(&buffer);
        return fits;
    }
};

// A struct with FIELDS, from a tuple of as many.
template <class T>
struct type_caster<T, enable_if_t<whence::detail::HasFields<T>::value>> {
    NB_TYPE_CASTER(T, const_name("tuple"))
    bool from_python(handle source, uint8_t flags, cleanup_list* cleanup) noexcept {
        auto fields = value.fields();
        constexpr Py_ssize_t n = std::tuple_size_v<decltype(fields)>;
        PyObject* given = source.ptr();
        if (!PyTuple_Check(given) || PyTuple_Size(given) != n) return false;
        Py_ssize_t place = 0;
        return std::apply(
            [&](auto&... field) {
                return (whence::detail::read_field(PyTuple_GetItem(given, place++), flags, cleanup,
                                                   field) &&
                        ...);
            },
            fields);
    }
};

template <class T>
struct type_caster<whence::Array<T>> {
    static constexpr auto Name = const_name("numpy.ndarray");
    template <class U>
    using Cast = whence::Array<T>;
    static handle from_cpp(whence::Array<T>&& array, rv_policy policy,
                           cleanup_list* cleanup) noexcept {
        return whence::detail::handed_over<T>(std::move(array.values),
                                              {static_cast<size_t>(array.size)}, policy, cleanup);
    }
};

template <class T>
struct type_caster<whence::Grid<T>> {
    static constexpr auto Name = const_name("numpy.ndarray");
    template <class U>
    using Cast = whence::Grid<T>;
    static handle from_cpp(whence::Grid<T>&& grid, rv_policy policy,
                           cleanup_list* cleanup) noexcept {
        return whence::detail::handed_over<T>(
            std::move(grid.values),
            {static_cast<size_t>(grid.rows), static_cast<size_t>(grid.columns)}, policy, cleanup);
    }
};

}  // namespace nanobind::detail
