#pragma once
// Everything that a program of greenlets needs.

#include <green/basic_greenlet.hpp>
#include <green/channel.hpp>
#include <green/condition.hpp>
#include <green/deadline.hpp>
#include <green/errors.hpp>
#include <green/event.hpp>
#include <green/greenlet.hpp>
#include <green/group.hpp>
#include <green/hub.hpp>
#include <green/joinable_queue.hpp>
#include <green/link.hpp>
#include <green/lock.hpp>
#include <green/log.hpp>
#include <green/mutex.hpp>
#include <green/operation.hpp>
#include <green/process.hpp>
#include <green/queue.hpp>
#include <green/select.hpp>
#include <green/shared_mutex.hpp>
#include <green/signals.hpp>
#include <green/socket.hpp>
#include <green/thread_pool.hpp>
#include <green/timeout.hpp>
#include <green/trace.hpp>
#include <green/wait.hpp>
