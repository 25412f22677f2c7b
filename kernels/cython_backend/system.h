/* What the operating system does: the clock, naps, aligned memory, locks, threads. POSIX, or Windows. */
#pragma once

#include "platform.h"

#if defined(_WIN32)
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#define NOUSER /* whose INPUT is ours, too */
#include <malloc.h>
#include <windows.h>
#undef near /* left over from 16 bits */
#undef far

static long long nanoseconds(void)
{
    LARGE_INTEGER ticks, a_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&a_second);
    const long long whole = ticks.QuadPart / a_second.QuadPart, rest = ticks.QuadPart % a_second.QuadPart;
    return whole * 1000000000LL + rest * 1000000000LL / a_second.QuadPart;
}

static void give_way(void) { SwitchToThread(); }
static void sleep_nanoseconds(long n) { Sleep((DWORD)((n + 999999) / 1000000)); }

static void *aligned_memory(size_t unit, size_t size) { return _aligned_malloc(size, unit); }
static void free_aligned(void *memory) { _aligned_free(memory); }

typedef SRWLOCK lock;
typedef CONDITION_VARIABLE condition;
#define LOCK_INITIALIZER SRWLOCK_INIT
static void init_lock(lock *l) { InitializeSRWLock(l); }
static void take_lock(lock *l) { AcquireSRWLockExclusive(l); }
static void release_lock(lock *l) { ReleaseSRWLockExclusive(l); }
static void init_condition(condition *c) { InitializeConditionVariable(c); }
static void wait_for(condition *c, lock *l) { SleepConditionVariableSRW(c, l, INFINITE, 0); }
static void wake(condition *c) { WakeConditionVariable(c); }

typedef HANDLE thread_handle;
typedef DWORD thread_result;
#define THREAD_CALL WINAPI

/* Start a thread that nobody joins; returns whether it started. */
static int start_detached(thread_handle *handle, thread_result (THREAD_CALL *function)(void *), void *argument)
{
    *handle = CreateThread(NULL, 0, function, argument, 0, NULL);
    return *handle && CloseHandle(*handle);
}

/* There is no fork. */
static void at_fork(void (*before)(void), void (*parent)(void), void (*child)(void)) { (void)before, (void)parent, (void)child; }

#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

static long long nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void give_way(void) { sched_yield(); }
static void sleep_nanoseconds(long n) { nanosleep(&(struct timespec){.tv_nsec = n}, NULL); }

static void *aligned_memory(size_t unit, size_t size) { return aligned_alloc(unit, size); }
static void free_aligned(void *memory) { free(memory); }

typedef pthread_mutex_t lock;
typedef pthread_cond_t condition;
#define LOCK_INITIALIZER PTHREAD_MUTEX_INITIALIZER
static void init_lock(lock *l) { pthread_mutex_init(l, NULL); }
static void take_lock(lock *l) { pthread_mutex_lock(l); }
static void release_lock(lock *l) { pthread_mutex_unlock(l); }
static void init_condition(condition *c) { pthread_cond_init(c, NULL); }
static void wait_for(condition *c, lock *l) { pthread_cond_wait(c, l); }
static void wake(condition *c) { pthread_cond_signal(c); }

typedef pthread_t thread_handle;
typedef void *thread_result;
#define THREAD_CALL

/* Start a thread that nobody joins and that gets no signals: these are for the program's own threads. Returns whether it started. */
static int start_detached(thread_handle *handle, thread_result (*function)(void *), void *argument)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(handle, NULL, function, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return 0;
    pthread_detach(*handle);
#if defined(__linux__)
    pthread_setname_np(*handle, "fastprop");
#endif
    return 1;
}

static void at_fork(void (*before)(void), void (*parent)(void), void (*child)(void)) { pthread_atfork(before, parent, child); }
#endif
