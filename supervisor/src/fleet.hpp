// Who lives: pools and their instances, each driven by its state machine.
//
// R1  An instance changes in apply() only. apply() never switches, so that whoever looks sees whole
//     steps; what has to wait (a message to a worker, the end of a process) is done by a greenlet.
// R2  What a greenlet of a process has to say counts only while that process is the instance's.
// R3  `changed` is set after each change; the supervisor's main greenlet then looks at everything
//     anew. Nothing is remembered about what was changed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <green/event.hpp>
#include <green/group.hpp>

#include "channel.hpp"
#include "edition.hpp"
#include "spawner.hpp"
#include "transition_log.hpp"
#include "worker_fsm.hpp"

namespace greensup {

struct Member {
    std::string pool;
    std::shared_ptr<const Edition> edition;
    const WorkerConfig* worker = nullptr;  // in the edition
    Instance instance;
    std::shared_ptr<Incarnation> incarnation;
    bool is_leaving = false;  // it is forgotten when it is over
    bool is_last = false;     // nobody of its pool comes after it

    /// Moves it to another edition; its process stays what it is.
    void set_edition(std::shared_ptr<const Edition> to);
};

struct Pool {
    std::string name;
    std::shared_ptr<const Edition> edition;  // what it is to become
    std::uint64_t generation = 0;            // the last that all of it reached
    bool is_wanted = true;
    bool is_settled = true;  // false: a roll is to come, goes on, or failed
    bool is_rolling = false;
    std::string note;
    std::vector<std::shared_ptr<Member>> members;

    [[nodiscard]] const WorkerConfig* worker() const { return edition->config.worker(name); }
};

/// No process, and none to come.
bool is_over(State state);

class Fleet {
 public:
    Fleet(Spawner& spawner, TransitionLog& log, green::Event& changed);
    Fleet(const Fleet&) = delete;
    Fleet& operator=(const Fleet&) = delete;
    ~Fleet();

    [[nodiscard]] const std::vector<std::shared_ptr<Pool>>& pools() const { return pools_; }
    [[nodiscard]] std::shared_ptr<Pool> find(const std::string& name) const;
    std::shared_ptr<Pool> add_pool(const std::string& name, std::shared_ptr<const Edition> edition);
    /// Adds an instance and wants it started.
    Member& add(Pool& pool, int slot, std::uint64_t generation, bool on_trial, const char* who);

    void apply(Member& member, const Input& input);

    /// Does what is due, and lets start whoever may. Returns when to look again.
    std::optional<TimePoint> advance(bool ignores_order);
    /// The pool that somebody of this pool waits for before he starts; empty if nobody does.
    [[nodiscard]] std::string waits_for(const Pool& pool) const;
    /// Forgets who is leaving and over, and pools that nobody wants and that are empty. That is a
    /// change like any other.
    void sweep();
    /// The queues of an edition, and those that somebody of an earlier one still has, by name.
    [[nodiscard]] std::map<std::string, std::shared_ptr<OpenQueue>> open_queues(
        const Edition& edition) const;
    /// The pipes of an edition, and those that somebody of an earlier one still has, by name.
    [[nodiscard]] std::map<std::string, std::shared_ptr<OpenPipe>> open_pipes(
        const Edition& edition) const;
    /// Tells the pipes that are open what has become of the pools at their ends.
    void tell_pipes(const Edition& edition) const;

 private:
    /// What an edition has in `what`, and what those of earlier ones have besides.
    template <class Opened>
    [[nodiscard]] Opened with_earlier(Opened Edition::*what, const Edition& edition) const;
    void act(Member& member, Action action);
    void spawn(Member& member);
    void ask_drain(Member& member);
    bool end_input(Member& member);
    [[nodiscard]] bool has_successor(const Member& member, const HeldEnd& held) const;
    void send_stop(Member& member);
    void record(const Member& member, const Transition& transition);
    void attend(const std::shared_ptr<Member>& member);
    void converse(const std::shared_ptr<Member>& member,
                  const std::shared_ptr<Incarnation>& incarnation);
    void await_end(const std::shared_ptr<Member>& member,
                   const std::shared_ptr<Incarnation>& incarnation);
    void grant_permits(bool ignores_order);
    /// The first pool that has to be ready before this one may start, and is not.
    [[nodiscard]] std::string missing(const Member& member) const;
    /// It cannot get ready before `reader` takes what its writers, or those it waits for, have
    /// left.
    [[nodiscard]] bool waits_for_reader(const Pool& pool, const std::string& reader,
                                        std::set<std::string> seen) const;
    [[nodiscard]] std::shared_ptr<Member> shared(Member& member) const;
    double chance();

    Spawner& spawner_;
    TransitionLog& log_;
    green::Event& changed_;
    std::vector<std::shared_ptr<Pool>> pools_;
    std::mt19937_64 random_;
    green::Group greenlets_;
};

}  // namespace greensup
