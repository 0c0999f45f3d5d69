// The other side of a ring is hostile: it writes what it likes, wherever it likes, between any two
// of our calls. Reader and writer answer or throw ProtocolError; what they hand out lies in the
// ring, and of the first page they write their own lines only.

#include <optional>
#include <vector>

#include <green/errors.hpp>
#include <green/sys.hpp>

#include "fuzz.hpp"
#include "ring/ring_reader.hpp"
#include "ring/ring_writer.hpp"

using namespace green::ipc::ring;

namespace {

constexpr std::size_t capacity = smallest;

/// The lines of the first page that a side may change.
constexpr std::size_t readers[] = {offsetof(Header, reader), offsetof(Header, reader_sleeps),
                                   offsetof(Header, writer_sleeps)};
constexpr std::size_t writers[] = {offsetof(Header, writer), offsetof(Header, reader_sleeps),
                                   offsetof(Header, writer_sleeps)};

class Ring {
 public:
    Ring()
        : theirs_{RingMemory::create(capacity)},
          ours_{RingMemory::adopt(green::Fd{
              static_cast<int>(green::sys::must(green::sys::dup(theirs_.fd().number()), "dup"))})} {
    }

    void act(fuzz::Input& input) {
        const std::size_t what = input.below(16);
        switch (what) {
            case 0:
                return scribble(input);
            case 1:
                return set_index(input);
            case 2:
                return write_record(input);
            case 3:
                held_.clear();  // the one before has held them
                return call(readers, [&] { reader_.emplace(ours_); });
            case 4:
                return call(writers, [&] { writer_.emplace(ours_); });
            default:
                break;
        }
        if (what < 12 && reader_) return call(readers, [&] { read(what, input); });
        if (what >= 12 && writer_) return call(writers, [&] { write(what, input); });
    }

 private:
    void scribble(fuzz::Input& input) const {
        const std::size_t at = input.number<std::uint16_t>() % (header_bytes + capacity);
        const auto bytes = input.bytes(input.below(32));
        const std::size_t room = header_bytes + capacity - at;
        if (!bytes.empty()) std::memcpy(first() + at, bytes.data(), std::min(bytes.size(), room));
    }
    /// To near where it stands.
    void set_index(fuzz::Input& input) const {
        Header& header = theirs_.header();
        green::ipc::shm::Word& index =
            input.below(2) == 0 ? header.writer.tail : header.reader.head;
        index.add(static_cast<std::uint64_t>(std::int64_t{input.number<std::int16_t>()}));
    }
    /// As an honest writer would, but with a header of any kind, and at any place.
    void write_record(fuzz::Input& input) const {
        green::ipc::shm::Word& tail = theirs_.header().writer.tail;
        const RecordHeader header{input.number<std::uint16_t>(),
                                  static_cast<Kind>(input.number<std::int8_t>()),
                                  input.number<std::uint8_t>()};
        const std::uint64_t at = tail.load() + granule * input.below(8);
        std::memcpy(theirs_.at(at), &header, sizeof header);
        if (at == tail.load()) tail.add(footprint(header.bytes));
    }

    void read(std::size_t what, fuzz::Input& input) {
        switch (what) {
            case 5:
            case 6:
                if (const auto record = reader_->front()) {
                    expect_inside(record->payload);
                    if (what == 6) return;
                    reader_->take(*record);
                    held_.push_back(record->payload);
                }
                return;
            case 7:
            case 8: {
                if (held_.empty()) return;
                std::swap(held_[input.below(held_.size())], held_.back());
                expect_inside(held_.back());  // it can be read to the end
                (void)reader_->release(held_.back());
                held_.pop_back();
                return;
            }
            case 9:
                (void)reader_->tell_room();
                return;
            case 10:
                reader_->raise_flag();
                (void)reader_->front();
                reader_->lower_flag();
                return;
            default:
                reader_->note_close();
                (void)reader_->writer_closes();
        }
    }
    void write(std::size_t what, fuzz::Input& input) {
        const std::size_t size = input.number<std::uint16_t>() % (capacity + 64);
        if (what == 12) {
            writer_->raise_flag();
            (void)writer_->room(size);
            writer_->lower_flag();
            return;
        }
        std::byte* const room = writer_->room(size);
        if (room == nullptr || what == 13) return;
        expect_inside({room, size});
        std::memset(room, 0x5a, size);
        (void)writer_->publish({static_cast<std::uint32_t>(size), Kind::here, 0}, size);
    }

    template <std::size_t N, class Call>
    void call(const std::size_t (&may_change)[N], Call&& body) {
        std::byte before[header_bytes];
        std::memcpy(before, first(), header_bytes);
        try {
            body();
        } catch (const green::ProtocolError&) {
        }
        for (const std::size_t at : may_change) std::memcpy(before + at, first() + at, line);
        fuzz::expect(std::memcmp(before, first(), header_bytes) == 0,
                     "a line of the other side was written");
    }
    [[nodiscard]] std::byte* first() const {
        return reinterpret_cast<std::byte*>(&theirs_.header());
    }
    void expect_inside(std::span<const std::byte> payload) const {
        const std::byte* const begin = ours_.at(0);
        fuzz::expect(payload.data() >= begin && payload.size() <= capacity &&
                         payload.data() + payload.size() <= begin + 2 * capacity,
                     "a payload outside the ring");
    }

    RingMemory theirs_;
    RingMemory ours_;
    std::optional<RingReader> reader_;
    std::optional<RingWriter> writer_;
    std::vector<std::span<const std::byte>> held_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input{data, size};
    Ring ring;
    while (!input.empty()) ring.act(input);
    return 0;
}
