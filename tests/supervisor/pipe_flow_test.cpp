// Who gets what, and what is kept for whom.
#include "pipe_flow.hpp"

#include <catch2/catch.hpp>

using namespace greensup;

namespace {

PipeFlow flow(PipeShape shape, int readers, Cut cut = Cut::lines) {
    PipeFlow flow;
    flow.configure(shape, cut, readers);
    for (int slot = 0; slot < readers; ++slot) flow.reader_came(slot);
    return flow;
}

std::string waits_for(PipeFlow& flow, int slot) { return std::string(flow.outlet(slot).to_send()); }

}  // namespace

TEST_CASE("pipe: the next reader gets what the one before has not read, from a line's beginning",
          "[supervisor][pipe]") {
    const std::string text = "one\ntwo\n\nfour\n";
    const std::vector<std::size_t> starts{0, 4, 8, 9, 14};
    for (std::size_t sent = 0; sent <= text.size(); ++sent) {
        for (std::size_t unread = 0; unread <= sent; ++unread) {
            auto one = flow(PipeShape::pair, 1);
            one.put(0, text);
            one.outlet(0).sent(sent);
            CHECK(one.outlet(0).to_send() == text.substr(sent));
            one.reader_left(0, unread);
            const auto start =
                *std::prev(std::upper_bound(starts.begin(), starts.end(), sent - unread));
            CHECK(waits_for(one, 0) == text.substr(start));
            CHECK(one.waiting() == text.size() - start);

            auto bytes = flow(PipeShape::pair, 1, Cut::bytes);
            bytes.put(0, text);
            bytes.outlet(0).sent(sent);
            bytes.reader_left(0, unread);
            CHECK(waits_for(bytes, 0) == text.substr(sent - unread));
        }
    }
}

TEST_CASE("pipe: a reader that is to leave gets the rest of its line and no more",
          "[supervisor][pipe]") {
    auto one = flow(PipeShape::pair, 1);
    one.put(0, "one\ntwo\n");
    CHECK(one.outlet(0).due(Cut::lines) == 0);
    one.outlet(0).sent(1);
    CHECK(one.outlet(0).due(Cut::lines) == 3);
    one.outlet(0).sent(3);
    CHECK(one.outlet(0).due(Cut::lines) == 0);
    one.outlet(0).unread(Cut::lines, 2);
    CHECK(one.outlet(0).due(Cut::lines) == 0);
    CHECK(one.outlet(0).size() == 8);
    one.outlet(0).unread(Cut::lines, 0);
    CHECK(one.outlet(0).size() == 4);
}

TEST_CASE("pipe: what has been read costs no memory", "[supervisor][pipe]") {
    auto one = flow(PipeShape::pair, 1);
    for (int i = 0; i < 100000; ++i) {
        one.put(0, "a line of some length\n");
        one.outlet(0).sent(22);
        one.outlet(0).unread(Cut::lines, 22);
        REQUIRE(one.waiting() == 22);
    }
}

TEST_CASE("pipe: pair keeps slots apart", "[supervisor][pipe]") {
    auto pair = flow(PipeShape::pair, 2);
    pair.put(0, std::string(PipeFlow::portion - 1, 'x') + "\n");
    CHECK_FALSE(pair.has_room(0));
    CHECK(pair.has_room(1));
    pair.put(1, "b\n");
    CHECK(waits_for(pair, 1) == "b\n");
}

TEST_CASE("pipe: merge brings all to one", "[supervisor][pipe]") {
    auto merge = flow(PipeShape::merge, 1);
    merge.put(2, "c\n");
    merge.put(0, "a\n");
    CHECK(waits_for(merge, 0) == "c\na\n");
    CHECK(merge.feeds(2, 0));
    CHECK_FALSE(merge.feeds(2, 1));
    merge.put(1, std::string(PipeFlow::portion, 'x'));
    for (int slot = 0; slot < 3; ++slot) CHECK_FALSE(merge.has_room(slot));
}

TEST_CASE("pipe: broadcast gives all to everybody, at the pace of the slowest",
          "[supervisor][pipe]") {
    auto all = flow(PipeShape::broadcast, 3);
    all.put(0, "a\n");
    for (int slot = 0; slot < 3; ++slot) CHECK(waits_for(all, slot) == "a\n");
    all.put(0, std::string(PipeFlow::portion - 1, 'x') + "\n");
    for (int slot : {0, 2}) all.outlet(slot).sent(all.outlet(slot).unsent());
    CHECK_FALSE(all.has_room(0));
    SECTION("who dies gets it again") {
        all.reader_left(1, 0);
        CHECK(waits_for(all, 1).starts_with("a\n"));
        CHECK_FALSE(all.has_room(0));
    }
    SECTION("who has come to his end is not waited for") {
        all.reader_left(1, 0);
        all.set_over({1}, {});
        CHECK(all.has_room(0));
        all.put(0, "b\n");
        CHECK(waits_for(all, 1).empty());
        CHECK(waits_for(all, 2) == "b\n");
        CHECK(all.missed() == 0);
    }
    SECTION("who was given up is not waited for, and what he misses is counted") {
        const auto left = all.outlet(1).size();
        all.reader_left(1, 0);
        all.set_over({}, {1});
        CHECK(all.missed_by(1) == left);
        CHECK(all.has_room(0));
        all.put(0, "b\n");
        CHECK(all.missed_by(1) == left + 2);
        CHECK(waits_for(all, 2) == "b\n");
        for (int slot : {0, 2}) {
            all.outlet(slot).sent(all.outlet(slot).unsent());
            all.outlet(slot).unread(Cut::lines, 0);
        }
        all.set_over({}, {});
        all.put(0, "c\n");
        CHECK(waits_for(all, 1) == "c\n");
        CHECK(all.missed() == left + 2);
    }
    SECTION("when all were given up it waits for the first that comes back") {
        for (int slot : {0, 1, 2}) all.reader_left(slot, 0);
        all.set_over({}, {0, 1, 2});
        CHECK_FALSE(all.has_room(0));
        CHECK(all.missed() == 0);
        all.set_over({}, {0, 2});
        CHECK(all.outlet(1).size() > PipeFlow::portion);
        CHECK(all.missed_by(1) == 0);
    }
    SECTION("what nobody has read is for whoever comes") {
        for (int slot : {0, 1, 2}) all.outlet(slot).unread(Cut::lines, 0);
        all.put(0, "unheard\n");
        const auto lose = [&](std::set<int> lost) {
            for (const auto slot : lost) all.reader_left(slot, all.outlet(slot).size());
            all.set_over({}, std::move(lost));
        };
        lose({0});
        lose({0, 1});
        lose({0, 1, 2});
        const bool is_new = GENERATE(true, false);
        if (is_new)
            all.configure(PipeShape::broadcast, Cut::lines, 4);
        else
            all.set_over({}, {1, 2});
        CHECK(waits_for(all, is_new ? 3 : 0) == "unheard\n");
        CHECK(all.missed_by(0) == (is_new ? 8 : 0));
        CHECK(all.missed_by(2) > 0);
        // Another one comes before that was read, and the one who has it is lost.
        if (is_new) {
            all.set_over({}, {0, 2});
            all.set_over({3}, {0, 2});
            CHECK(waits_for(all, 1) == "unheard\n");
        }
        // It is not sent to those who come when it was read.
        all.outlet(is_new ? 1 : 0).sent(8);
        all.outlet(is_new ? 1 : 0).unread(Cut::lines, 0);
        all.set_over({}, {});
        all.put(0, "c\n");
        CHECK(waits_for(all, 2) == "c\n");
    }
    SECTION("who is no more neither") {
        all.configure(PipeShape::broadcast, Cut::lines, 1);
        all.reader_left(1, 0);
        CHECK(all.has_room(0));
        CHECK(all.outlet(1).size() == 0);
    }
}

TEST_CASE("pipe: spread gives each line to one, in turn", "[supervisor][pipe]") {
    auto spread = flow(PipeShape::spread, 3);
    spread.put(0, "a\nb\nc\nd\n");
    CHECK(waits_for(spread, 1) == "a\nd\n");
    CHECK(waits_for(spread, 2) == "b\n");
    CHECK(waits_for(spread, 0) == "c\n");

    SECTION("who has no room is passed over") {
        spread.outlet(1).add(std::string(PipeFlow::portion, 'x'));
        spread.put(0, "e\nf\n");
        CHECK(waits_for(spread, 2) == "b\ne\n");
        CHECK(waits_for(spread, 0) == "c\nf\n");
    }
    SECTION("what somebody leaves goes to the others") {
        spread.outlet(1).sent(4);
        spread.reader_left(1, 2);
        CHECK(waits_for(spread, 1).empty());
        CHECK(waits_for(spread, 2) == "b\nd\n");
        spread.put(0, "e\nf\n");
        CHECK(waits_for(spread, 1).empty());
        spread.reader_came(1);
        spread.put(0, "g\nh\n");
        CHECK(waits_for(spread, 1) == "h\n");
    }
    SECTION("it is kept when there are none") {
        for (int slot : {0, 1, 2}) spread.reader_left(slot, 0);
        CHECK(spread.waiting() == 8);
        spread.set_over({0, 1, 2}, {});
        CHECK(spread.waiting() == 8);
        CHECK_FALSE(spread.has_room(0));
        spread.set_over({0, 1}, {});
        CHECK(spread.waiting() == 8);
        CHECK(spread.outlet(2).size() == 8);
    }
    SECTION("and comes to one when it becomes another pipe") {
        for (int slot : {1, 2}) spread.reader_left(slot, 0);
        spread.configure(PipeShape::merge, Cut::lines, 1);
        CHECK(spread.outlet(0).size() == 8);
    }
}

TEST_CASE("pipe: where lines are spread, a reader that is away makes no room",
          "[supervisor][pipe]") {
    auto spread = flow(PipeShape::spread, 2);
    spread.reader_left(1, 0);
    spread.put(0, std::string(PipeFlow::portion - 1, 'x') + "\n");
    REQUIRE(spread.outlet(0).unsent() == PipeFlow::portion);
    CHECK_FALSE(spread.has_room(0));
    spread.reader_left(0, 0);
    CHECK(spread.has_room(0));
    spread.reader_came(1);
    CHECK(spread.has_room(0));
}

TEST_CASE("pipe: what a dead reader leaves goes to the others only as they have room",
          "[supervisor][pipe]") {
    const std::string line = std::string(1023, 'x') + "\n";
    auto spread = flow(PipeShape::spread, 2);
    // All of it was sent to him, and he has read nothing.
    const std::size_t lines = 4 * PipeFlow::portion / line.size();
    for (std::size_t i = 0; i < lines; ++i) spread.outlet(1).add(line);
    spread.outlet(1).sent(spread.outlet(1).size());
    spread.reader_left(1, spread.outlet(1).size());
    CHECK(spread.outlet(0).unsent() == PipeFlow::portion);
    CHECK(spread.outlet(1).size() == 3 * PipeFlow::portion);
    CHECK(spread.pass_on());

    SECTION("room brings more of it") {
        for (int i = 0; i < 4; ++i) {
            CHECK(spread.outlet(0).unsent() == PipeFlow::portion);
            spread.outlet(0).sent(PipeFlow::portion);
            spread.outlet(0).unread(Cut::lines, 0);
            CHECK(spread.pass_on() == (i < 2));
        }
        CHECK(spread.waiting() == 0);
    }
    SECTION("his successor gets what is left") {
        spread.reader_came(1);
        spread.outlet(0).sent(PipeFlow::portion);
        CHECK_FALSE(spread.pass_on());
        CHECK(spread.outlet(1).size() == 3 * PipeFlow::portion);
    }
    SECTION("without one the others get it all") {
        spread.set_over({1}, {});
        CHECK(spread.outlet(0).unsent() == 4 * PipeFlow::portion);
    }
}
