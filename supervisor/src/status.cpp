#include "status.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "units.hpp"

namespace greensup {
namespace {

constexpr std::array<std::string_view, 8> pool_state_names = {
    "ready", "starting", "rolling", "degraded", "failed", "stopping", "stopped", "done"};

int count_in(const PoolStatus& pool, std::initializer_list<State> states) {
    return static_cast<int>(
        std::count_if(pool.instances.begin(), pool.instances.end(), [&](const InstanceStatus& i) {
            return std::find(states.begin(), states.end(), i.state) != states.end();
        }));
}

/// "3d 04:12" from a day on, "00:04:12" below.
std::string age(std::int64_t milliseconds) {
    const auto seconds = std::max<std::int64_t>(0, milliseconds / 1000);
    std::array<char, 64> text{};
    if (seconds >= 86400)
        static_cast<void>(std::snprintf(text.data(), text.size(), "%lldd %02lld:%02lld",
                                        static_cast<long long>(seconds / 86400),
                                        static_cast<long long>(seconds / 3600 % 24),
                                        static_cast<long long>(seconds / 60 % 60)));
    else
        static_cast<void>(std::snprintf(text.data(), text.size(), "%02lld:%02lld:%02lld",
                                        static_cast<long long>(seconds / 3600),
                                        static_cast<long long>(seconds / 60 % 60),
                                        static_cast<long long>(seconds % 60)));
    return text.data();
}

/// Columns as wide as their widest cell, two blanks apart; the last one is not padded.
std::string table(const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths;
    const auto width = [](const std::string& cell) {  // in characters: "–" and "→" are one each
        return static_cast<std::size_t>(std::count_if(cell.begin(), cell.end(), [](char c) {
            return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
        }));
    };
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
    }
    std::string text;
    for (const auto& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i)
            line += row[i] + std::string(widths[i] - width(row[i]) + 2, ' ');
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + "\n";
    }
    return text;
}

/// "6→7" while two generations live side by side.
std::string generations(const PoolStatus& pool) {
    if (pool.instances.empty()) return "–";
    const auto [low, high] =
        std::minmax_element(pool.instances.begin(), pool.instances.end(),
                            [](const InstanceStatus& a, const InstanceStatus& b) {
                                return a.generation < b.generation;
                            });
    const auto oldest = std::to_string(low->generation);
    return low->generation == high->generation ? oldest
                                               : oldest + "→" + std::to_string(high->generation);
}

/// What is wrong with an instance, and what comes next; empty for one that serves.
std::string remark(const InstanceStatus& instance, std::int64_t now_ms) {
    const auto why = to_text(instance.cause);
    const auto slot = "slot " + std::to_string(instance.slot);
    if (instance.state == State::backoff && instance.next_at_ms) {
        const auto wait = std::max<std::int64_t>(0, *instance.next_at_ms - now_ms);
        const auto rounded = std::chrono::milliseconds(wait < 1000 ? wait : wait / 1000 * 1000);
        return slot + ": " + why + "; next try in " + to_text(Duration(rounded));
    }
    if (instance.state == State::failed) return slot + " failed" + (why.empty() ? "" : ": " + why);
    return {};
}

std::string remarks(const PoolStatus& pool, std::int64_t now_ms) {
    constexpr std::size_t most = 2;
    std::vector<std::string> all;
    if (!pool.note.empty()) all.push_back(pool.note);
    std::size_t left_out = 0;
    for (const auto& instance : pool.instances) {
        auto text = remark(instance, now_ms);
        if (text.empty()) continue;
        if (all.size() < most)
            all.push_back(std::move(text));
        else
            ++left_out;
    }
    if (left_out > 0) all.push_back("and " + std::to_string(left_out) + " more");
    return join(all, "; ");
}

std::vector<std::string> row(const PoolStatus& pool, std::int64_t now_ms) {
    std::uint64_t restarts = 0;
    std::int64_t since = 0;
    for (const auto& instance : pool.instances) {
        restarts += instance.restarts;
        since = std::max(since, instance.since_ms);
    }
    return {pool.name,
            std::string(to_text(state_of(pool))),
            std::to_string(ready_count(pool)) + "/" + std::to_string(pool.count),
            generations(pool),
            std::to_string(restarts),
            pool.instances.empty() ? "–" : age(now_ms - since),
            remarks(pool, now_ms)};
}

/// "high; with web/0 12, web/1 3"
std::string remarks(const QueueStatus& queue) {
    constexpr std::size_t most = 3;
    std::vector<std::string> all;
    if (queue.removed) all.emplace_back("not in the file any more");
    if (queue.high) all.emplace_back("high");
    if (queue.letters_full) all.emplace_back("no room for dead letters");
    std::vector<std::string> holders;
    for (const auto& holder : queue.holders) {
        if (holders.size() == most) {
            holders.push_back("and " + std::to_string(queue.holders.size() - most) + " more");
            break;
        }
        holders.push_back((holder.worker.empty()
                               ? "somebody"
                               : holder.worker + "/" + std::to_string(holder.slot)) +
                          " " + std::to_string(holder.leased));
    }
    if (!holders.empty()) all.push_back("with " + join(holders));
    return join(all, "; ");
}

std::vector<std::string> row(const QueueStatus& queue) {
    const auto has_messages = queue.ready + queue.leased + queue.delayed > 0;
    return {queue.name,
            std::to_string(queue.ready),
            std::to_string(queue.leased),
            std::to_string(queue.delayed),
            std::to_string(queue.dead),
            has_messages ? age(queue.oldest_ms) : "–",
            std::to_string(queue.redelivered),
            std::to_string(queue.dropped()),
            remarks(queue)};
}

/// What is wrong with an end; empty if nothing is. `end` is "b.stdin", or "b".
std::string remark(const PipeEndStatus& one, const std::string& end) {
    constexpr std::int64_t long_enough = 1000;
    const auto who = end.substr(0, end.find('.')) + "/" + std::to_string(one.slot);
    const auto with_pid = who + (one.pid == 0 ? "" : " (pid " + std::to_string(one.pid) + ")");
    if (one.state == "closed") return with_pid + " has closed its input";
    if (one.state == "held") return with_pid + " sends another type than the one before it";
    if (one.state == "gone") return one.waiting == 0 ? "" : "nobody reads for " + who;
    if (one.stands_ms < long_enough) return {};
    return with_pid + " has read nothing for " + age(one.stands_ms);
}

std::string remarks(const PipeStatus& pipe) {
    constexpr std::size_t most = 2;
    std::vector<std::string> all;
    if (pipe.removed) all.emplace_back("not in the file any more");
    if (pipe.missed > 0) all.push_back("missed " + size_text(pipe.missed));
    std::vector<std::string> ends;
    for (const auto& writer : pipe.writers)
        if (writer.state == "held") ends.push_back(remark(writer, pipe.from));
    for (const auto& reader : pipe.readers)
        if (auto text = remark(reader, pipe.to); !text.empty()) ends.push_back(std::move(text));
    if (ends.size() > most) {
        const auto more = "and " + std::to_string(ends.size() - most) + " more";
        ends.resize(most);
        ends.push_back(more);
    }
    all.insert(all.end(), ends.begin(), ends.end());
    return join(all, "; ");
}

std::vector<std::string> row(const PipeStatus& pipe) {
    return {pipe.name,
            pipe.from,
            pipe.to,
            pipe.shape,
            size_text(pipe.waiting),
            size_text(pipe.passed),
            std::to_string(pipe.torn),
            std::to_string(pipe.refused),
            remarks(pipe)};
}

std::string headline(const Status& status) {
    std::size_t instances = 0;
    std::size_t unwell = 0;
    for (const auto& pool : status.pools) {
        instances += pool.instances.size();
        const auto state = state_of(pool);
        if (state == PoolState::degraded || state == PoolState::failed) ++unwell;
    }
    auto text = status.name + "  up " +
                age(std::chrono::duration_cast<std::chrono::milliseconds>(status.uptime).count()) +
                "  pid " + std::to_string(status.pid) + "  gen " +
                std::to_string(status.generation) + "  " + std::to_string(instances) +
                (instances == 1 ? " instance" : " instances");
    if (unwell > 0) text += "  " + std::to_string(unwell) + " degraded";
    if (status.stopping) text += "  stopping";
    if (!status.queues.empty()) {
        text += "  queues:";
        for (const auto& queue : status.queues) {
            text += " " + queue.name + " " + std::to_string(queue.ready);
            if (queue.leased > 0) text += "+" + std::to_string(queue.leased);
        }
    }
    return text + "\n";
}

}  // namespace

int ready_count(const PoolStatus& pool) { return count_in(pool, {State::ready}); }

PoolState state_of(const PoolStatus& pool) {
    const int ready = ready_count(pool);
    const int going = count_in(pool, {State::draining, State::stopping, State::killing});
    const int coming = count_in(pool, {State::waiting, State::spawning, State::starting});
    const int retrying = count_in(pool, {State::backoff});
    const int failed = count_in(pool, {State::failed});
    if (!pool.wanted) return ready + going + coming > 0 ? PoolState::stopping : PoolState::stopped;
    if (pool.rolling) return PoolState::rolling;
    if (failed > 0 && ready + coming + retrying == 0) return PoolState::failed;
    if (pool.degraded || failed > 0 || retrying > 0) return PoolState::degraded;
    if (ready >= pool.count) return PoolState::ready;
    if (coming > 0 || ready > 0) return PoolState::starting;
    if (count_in(pool, {State::done}) > 0) return PoolState::done;
    return PoolState::stopped;
}

std::string_view to_text(PoolState state) {
    return pool_state_names.at(static_cast<std::size_t>(state));
}

std::string to_text(const Status& status) {
    auto text = headline(status);
    std::vector<std::vector<std::string>> rows = {
        {"POOL", "STATE", "READY", "GEN", "RESTARTS", "SINCE", ""}};
    for (const auto& pool : status.pools) rows.push_back(row(pool, status.now_ms));
    text += table(rows);
    if (!status.queues.empty()) {
        rows = {{"QUEUE", "READY", "LEASED", "DELAYED", "DEAD", "OLDEST", "REDELIVERED", "DROPPED",
                 ""}};
        for (const auto& queue : status.queues) rows.push_back(row(queue));
        text += "\n" + table(rows);
    }
    if (!status.pipes.empty()) {
        rows = {{"PIPE", "FROM", "TO", "SHAPE", "WAITING", "PASSED", "TORN", "REFUSED", ""}};
        for (const auto& pipe : status.pipes) rows.push_back(row(pipe));
        text += "\n" + table(rows);
    }
    if (status.config.rejected) {
        text += "config: rejected " + age(status.now_ms - status.config.rejected_at_ms) +
                " ago; the one before stays in force\n";
        text += to_text(status.config.mistakes);
    }
    return text;
}

}  // namespace greensup
