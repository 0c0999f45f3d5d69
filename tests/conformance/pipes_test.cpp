// Pipes, as gipc's users know them.

#include <random>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/pipe.hpp>

#include "support/faults.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green_for_real;
namespace ipc = green::ipc;
using ipc::Bytes;

namespace {

/// A text, with a codec of its own.
struct Word {
    std::string text;
};

std::span<const std::byte> bytes_of(const std::string& text) {
    return std::as_bytes(std::span{text});
}
std::string text_of(const ipc::Frame& frame) {
    return {reinterpret_cast<const char*>(frame.bytes().data()), frame.size};
}

struct NotCarried {};
static_assert(!ipc::Carried<NotCarried>);  // refused before there is anything to leave open
static_assert(ipc::Carried<Bytes>);

}  // namespace

/// Runs of equal bytes, shortened.
template <>
struct green::ipc::Codec<Word> {
    static Schema schema() { return {0x776f'7264, "Word"}; }
    static std::string encode(const Word& word) {
        if (word.text == "refuse") throw std::invalid_argument("no such word");
        std::string runs;
        for (std::size_t i = 0; i < word.text.size();) {
            std::size_t end = i;
            while (end < word.text.size() && end - i < 255 && word.text[end] == word.text[i]) ++end;
            runs += static_cast<char>(end - i);
            runs += word.text[i];
            i = end;
        }
        return runs;
    }
    static Word decode(std::span<const std::byte> bytes) {
        Word word;
        for (std::size_t i = 0; i + 1 < bytes.size(); i += 2)
            word.text.append(static_cast<std::size_t>(bytes[i]), static_cast<char>(bytes[i + 1]));
        return word;
    }
};

TEST_CASE("C097: round trips of every size", "[conformance]") {
    run_green_for_real([] {
        auto [reader, writer] = ipc::pipe<Bytes>();
        bool stop = false;
        int ticks = 0;
        auto ticking = green::spawn([&] {
            for (; !stop; ++ticks) green::sleep(1ms);
        });
        std::mt19937_64 random{tests::seed()};
        for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{100}}) {
            const std::string sent(size, 'x');
            writer.put(bytes_of(sent));
            CHECK(text_of(reader.get()) == sent);
        }
        // Ten of a megabyte, as one of ten goes beside the memory that both ends share.
        std::string big(1'000'000, '\0');
        for (char& c : big) c = static_cast<char>(random());
        for (const std::size_t capacity : {std::size_t{1} << 18, std::size_t{1} << 22}) {
            auto [from, to] = ipc::pipe<Bytes>({.capacity = capacity});
            auto writing = green::spawn([&, &end = to] {
                for (int i = 0; i < 10; ++i) end.put(bytes_of(big));
            });
            green::idle();
            if (capacity > big.size()) CHECK_FALSE(writing.ready());
            // Whoever ticks goes on while one of the two waits for the other.
            const int before = ticks;
            while (ticks == before) green::yield();
            for (int i = 0; i < 10; ++i) CHECK(text_of(from.get()) == big);
            CHECK(writing.join());
        }
        const std::string whole(10'000'000, 'y');
        writer.put(bytes_of(whole));
        CHECK(text_of(reader.get()) == whole);
        // Whoever ticks goes on: this ends when it has, and not after some time.
        for (const int before = ticks; ticks == before;) green::yield();
        stop = true;
        ticking.join();
    });
}

TEST_CASE("C099: what comes after a close", "[conformance]") {
    run_green_for_real([] {
        auto [reader, writer] = ipc::pipe<Bytes>();
        writer.close();
        CHECK_THROWS_AS(writer.close(), green::Closed);
        CHECK_THROWS_AS(writer.put(bytes_of("x")), green::Closed);
        CHECK(reader.is_open());
        reader.close();
        CHECK_THROWS_AS(reader.get(), green::Closed);
        CHECK_THROWS_AS(reader.close(), green::Closed);

        auto [other, end] = ipc::pipe<Bytes>();
        other.close();
        CHECK(end.is_open());
        end.close();
    });
}

TEST_CASE("C101: the end of a pipe", "[conformance]") {
    run_green_for_real([] {
        auto [reader, writer] = ipc::pipe<Bytes>();
        writer.put(bytes_of("a"));
        writer.close();
        CHECK(text_of(reader.get()) == "a");
        CHECK_THROWS_AS(reader.get(), green::Closed);
        CHECK(reader.at_end());

        auto [empty, gone] = ipc::pipe<Bytes>();
        gone.close();
        CHECK_FALSE(empty.next());
        CHECK(empty.at_end());
    });
}

TEST_CASE("C102: a reader that is gone", "[conformance]") {
    run_green_for_real([] {
        auto [reader, writer] = ipc::pipe<Bytes>();
        reader.close();
        try {
            writer.put(bytes_of("x"));
            FAIL("it was sent");
        } catch (const std::system_error& error) {
            CHECK(error.code() == std::errc::broken_pipe);
        }
    });
}

TEST_CASE("C104: both ends of a duplex pipe", "[conformance]") {
    run_green_for_real([] {
        const auto before = tests::open_descriptors();
        {
            auto [one, two] = ipc::duplex_pipe<Bytes, Bytes>();
            one.put(bytes_of("from one"));
            two.put(bytes_of("from two"));
            CHECK(text_of(one.get()) == "from two");
            CHECK(text_of(two.get()) == "from one");
            one.close();
            two.close();
            CHECK_THROWS_AS(one.close(), green::Closed);
            CHECK_THROWS_AS(two.close(), green::Closed);
        }
        CHECK(tests::open_descriptors() == before);
        {
            auto [one, two] = ipc::duplex_pipe<Bytes, Bytes>();
            one.put(bytes_of("left there"));
            CHECK(tests::open_descriptors() > before);
        }
        CHECK(tests::open_descriptors() == before);
        auto [kept, gone] = ipc::duplex_pipe<Bytes, Bytes>();
        const auto both = tests::open_descriptors();
        gone.close();
        CHECK(tests::open_descriptors() == before + (both - before) / 2);
        CHECK_THROWS_AS(gone.close(), green::Closed);
        kept.close();
        CHECK(tests::open_descriptors() == before);
    });
}

TEST_CASE("C106: a get with a timeout", "[conformance]") {
    run_green_for_real([] {
        auto [reader, writer] = ipc::pipe<Bytes>();
        {
            green::TimeoutScope limit{10ms};
            try {
                (void)reader.get();
                FAIL("there was nothing");
            } catch (const green::Timeout& timeout) {
                CHECK(limit.owns(timeout));
            }
        }
        CHECK_FALSE(green::with_timeout(10ms, [&end = reader] { return end.get().size; }));
        writer.put(bytes_of("x"));
        // The limit is the call's: what comes behind it has none.
        CHECK(text_of(*reader.get_for(10ms)) == "x");
        CHECK(green::hub_figures().timers == 0);
    });
}

TEST_CASE("C108: bytes, and codecs of one's own", "[conformance]") {
    run_green_for_real([] {
        std::mt19937_64 random{tests::seed()};
        std::string noise(10'000, '\0');
        for (char& c : noise) c = static_cast<char>(random());
        auto [bytes, out] = ipc::pipe<Bytes>();
        out.put(bytes_of(noise));
        CHECK(text_of(bytes.get()) == noise);

        auto [words, speaker] = ipc::pipe<Word>();
        for (const std::string& text : {std::string(), std::string("aaabbb"), noise}) {
            speaker.put(Word{text});
            CHECK(words.get().text == text);
        }
        // What a codec throws leaves the pipe as it was, and free.
        CHECK_THROWS_AS(speaker.put(Word{"refuse"}), std::invalid_argument);
        speaker.put(Word{"after"});
        CHECK(words.get().text == "after");
        speaker.close();
        CHECK_FALSE(words.next());
    });
}
