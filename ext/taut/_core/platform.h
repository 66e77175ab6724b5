/* What differs between platforms below Python: descriptors and counters shared by threads. */
#ifndef TAUT_PLATFORM_H
#define TAUT_PLATFORM_H

#include <Python.h>
#include <errno.h>
#include <limits.h>

#ifdef _WIN32
#include <io.h>
#include <intrin.h>
#else
#include <fcntl.h>
#include <unistd.h>
#endif

/* One transfer: Windows counts in int, macOS refuses more than INT_MAX, Linux stops there by itself. */
static inline Py_ssize_t taut_clamp(Py_ssize_t size) { return size > INT_MAX ? INT_MAX : size; }

#ifdef _WIN32
static inline Py_ssize_t taut_read(int fd, void *data, Py_ssize_t size) {
    return _read(fd, data, (unsigned int)taut_clamp(size));
}
static inline Py_ssize_t taut_write(int fd, const void *data, Py_ssize_t size) {
    return _write(fd, data, (unsigned int)taut_clamp(size));
}
static inline int taut_may_block(int fd) { (void)fd; return 1; }
#else
static inline Py_ssize_t taut_read(int fd, void *data, Py_ssize_t size) {
    return read(fd, data, (size_t)taut_clamp(size));
}
static inline Py_ssize_t taut_write(int fd, const void *data, Py_ssize_t size) {
    return write(fd, data, (size_t)taut_clamp(size));
}
static inline int taut_may_block(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || !(flags & O_NONBLOCK);
}
#endif

static inline int taut_would_block(int error) {
#if defined(EWOULDBLOCK) && EWOULDBLOCK != EAGAIN
    if (error == EWOULDBLOCK) return 1;
#endif
    return error == EAGAIN;
}

/* Counters: plain under the GIL, atomic without it. Both return the new value. */
static inline Py_ssize_t taut_add(Py_ssize_t *counter, Py_ssize_t amount) {
#ifndef Py_GIL_DISABLED
    return *counter += amount;
#elif defined(_MSC_VER)
    return _InterlockedExchangeAdd64((volatile __int64 *)counter, amount) + amount;
#else
    return __atomic_add_fetch(counter, amount, __ATOMIC_ACQ_REL);
#endif
}
static inline Py_ssize_t taut_load(Py_ssize_t *counter) {
#ifdef Py_GIL_DISABLED
    return taut_add(counter, 0);
#else
    return *counter;
#endif
}

#endif
