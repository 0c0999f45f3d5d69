// What the state machine asks for, done; and what processes do, told to it.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <system_error>

#include <green/errors.hpp>
#include <green/log.hpp>

#include "fleet.hpp"

namespace greensup {
namespace {

/// To all of its group: what an instance has started goes with it.
void signal(green::Process& process, int number) {
    try {
        process.signal_group(number);
    } catch (const std::system_error& error) {  // it has become another user
        green::log::error("signal.failed",
                          {{"pid", process.pid()}, {"signal", number}, {"error", error.what()}});
    }
}

void signal(Member& member, int number) {
    if (member.incarnation) signal(member.incarnation->process, number);
}

Input input_for(const std::optional<green::ExitStatus>& status) {
    constexpr int unknown = 255;
    if (!status || status->kind == green::ExitStatus::Kind::lost) return Input::exited(unknown);
    return status->kind == green::ExitStatus::Kind::signaled ? Input::killed_by(status->code)
                                                             : Input::exited(status->code);
}

}  // namespace

void Fleet::act(Member& member, Action action) {
    switch (action) {
        case Action::none:
        case Action::announce_ready:  // who asked is told by `changed`
            return;
        case Action::spawn:
            return spawn(member);
        case Action::ask_drain:
            return ask_drain(member);
        case Action::send_stop:
            return send_stop(member);
        case Action::send_kill:
            return signal(member, SIGKILL);
    }
}

void Fleet::spawn(Member& member) {
    SpawnFailure failure;
    member.incarnation = spawner_.spawn(*member.edition, *member.worker, member.instance, failure);
    if (!member.incarnation) {
        apply(member, failure.is_shortage
                          ? Input::shortage(failure.error, failure.stage_and_path)
                          : Input::exec_failed(failure.error, failure.stage_and_path));
        return;
    }
    const auto pid = member.incarnation->process.pid();
    attend(shared(member));
    apply(member, Input::spawned(pid));
}

void Fleet::attend(const std::shared_ptr<Member>& member) {
    const auto incarnation = member->incarnation;
    greenlets_.spawn([this, member, incarnation] { await_end(member, incarnation); });
    if (incarnation->channel)
        greenlets_.spawn([this, member, incarnation] { converse(member, incarnation); });
}

void Fleet::await_end(const std::shared_ptr<Member>& member,
                      const std::shared_ptr<Incarnation>& incarnation) {
    auto& process = incarnation->process;
    process.await_end();
    // While it is not reaped its number is taken, so that this reaches nobody else.
    signal(process, SIGKILL);
    const auto status = process.poll();
    const auto input = input_for(status);
    spawner_.bury(*incarnation, is_success(*member->worker, input.by_signal, input.number));
    member->incarnation.reset();
    apply(*member, input);
}

void Fleet::converse(const std::shared_ptr<Member>& member,
                     const std::shared_ptr<Incarnation>& incarnation) {
    const auto give_up = [&](const std::exception& error) {
        green::log::error("channel.broken", {{"pool", member->pool},
                                             {"slot", member->instance.slot},
                                             {"pid", incarnation->process.pid()},
                                             {"error", error.what()}});
        // Who serves may go on to do so; who has not heard what he needs never will.
        if (member->incarnation == incarnation && member->instance.state != State::ready)
            signal(*member, SIGKILL);
    };
    try {
        greet(*incarnation, *member->edition, *member->worker, member->instance);
        listen_to(*incarnation, [&](Word word) {
            if (member->incarnation != incarnation) return;  // R2
            if (word == Word::ready) apply(*member, Input::of(Input::What::ready));
            if (word == Word::draining) (void)end_input(*member);
        });
    } catch (const green::Closed&) {  // it has ended, as await_end() says
    } catch (const green::ProtocolError& error) {
        give_up(error);
    } catch (const std::system_error& error) {
        if (error.code().value() != EPIPE) give_up(error);
    }
}

/// Lets the input of its pipes come to an end. Returns whether it has any that it will see the end
/// of.
bool Fleet::end_input(Member& member) {
    const auto& ends = member.incarnation->ends;
    bool any = false;
    for (std::size_t i = 0; i < ends.size(); ++i) {
        if (!ends[i].grant.reads) continue;
        any = ends[i].pipe->end_input(ends[i].end, has_successor(member, ends[i])) || any;
    }
    return any;
}

/// Somebody of its slot will read the same pipe: another one, of its pool or the one that has the
/// pipe now, or, when it leaves of its own accord, itself in its next life.
bool Fleet::has_successor(const Member& member, const HeldEnd& held) const {
    const auto is_the_pipe = [&](const Edition& edition) {
        const auto pipe = edition.pipes.find(held.grant.pipe);
        return pipe != edition.pipes.end() && pipe->second == held.pipe;
    };
    // A reload may have given it to another pool, which need not have anybody yet.
    if (const auto to = pipe_end(held.pipe->config().to).worker; to != member.pool) {
        const auto next = find(to);
        return next && next->is_wanted && member.instance.slot < next->worker()->count &&
               is_the_pipe(*next->edition);
    }
    const auto pool = find(member.pool);
    return pool && std::any_of(pool->members.begin(), pool->members.end(), [&](const auto& other) {
               return other->instance.slot == member.instance.slot && !other->is_leaving &&
                      other->instance.wanted && is_the_pipe(*other->edition);
           });
}

void Fleet::ask_drain(Member& member) {
    const auto incarnation = member.incarnation;
    if (!incarnation) return;
    const bool has_input = end_input(member);
    if (!incarnation->channel) {
        // The end of its input is what a program understands that reads a pipe.
        if (!has_input) send_stop(member);
        return;
    }
    const auto limit = member.worker->stop.drain;
    const auto is_last = member.is_last;
    greenlets_.spawn([incarnation, limit, is_last] {
        // The signal means the same to a worker, and needs nobody who reads.
        if (!ask_to_drain(*incarnation, limit, is_last)) signal(incarnation->process, SIGTERM);
    });
}

void Fleet::send_stop(Member& member) {
    signal(member, member.worker->stop.signal);
    signal(member, SIGCONT);  // who is stopped cannot obey
}

}  // namespace greensup
