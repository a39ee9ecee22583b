/*
 * registers.h - numbers of the 8254x manual the card and its tests share: register offsets and
 *               bits (§3), descriptor layouts (§7.1, §8.3). Names are the manual's.
 */
#ifndef NIC_E1000_REGISTERS_H
#define NIC_E1000_REGISTERS_H

#include <stdint.h>

enum {
    E1000_CTRL = 0x0000,
    E1000_CTRL_DUP = 0x0004,
    E1000_STATUS = 0x0008,
    E1000_EECD = 0x0010,
    E1000_EERD = 0x0014,
    E1000_CTRL_EXT = 0x0018,
    E1000_MDIC = 0x0020,
    E1000_FCAL = 0x0028,
    E1000_FCAH = 0x002c,
    E1000_FCT = 0x0030,
    E1000_VET = 0x0038,
    E1000_ICR = 0x00c0,
    E1000_ITR = 0x00c4,
    E1000_ICS = 0x00c8,
    E1000_IMS = 0x00d0,
    E1000_IMC = 0x00d8,
    E1000_RCTL = 0x0100,
    E1000_FCTTV = 0x0170,
    E1000_TXCW = 0x0178,
    E1000_RXCW = 0x0180,
    E1000_TCTL = 0x0400,
    E1000_TIPG = 0x0410,
    E1000_AIT = 0x0458,
    E1000_LEDCTL = 0x0e00,
    E1000_PBA = 0x1000,
    E1000_FCRTL = 0x2160,
    E1000_FCRTH = 0x2168,
    E1000_RDBAL = 0x2800,
    E1000_RDBAH = 0x2804,
    E1000_RDLEN = 0x2808,
    E1000_RDH = 0x2810,
    E1000_RDT = 0x2818,
    E1000_RDTR = 0x2820,
    E1000_RXDCTL = 0x2828,
    E1000_RADV = 0x282c,
    E1000_RSRPD = 0x2c00,
    E1000_TXDMAC = 0x3000,
    E1000_TDBAL = 0x3800,
    E1000_TDBAH = 0x3804,
    E1000_TDLEN = 0x3808,
    E1000_TDH = 0x3810,
    E1000_TDT = 0x3818,
    E1000_TIDV = 0x3820,
    E1000_TXDCTL = 0x3828,
    E1000_TADV = 0x382c,
    E1000_TSPMT = 0x3830,
    E1000_RXCSUM = 0x5000,
    E1000_MTA = 0x5200,
    E1000_MTA_WORDS = 128,
    E1000_RA = 0x5400, /* RAL0, RAH0, RAL1, ... */
    E1000_RA_PAIRS = 16,
    E1000_RAL0 = 0x5400,
    E1000_RAH0 = 0x5404,
    E1000_VFTA = 0x5600,
    E1000_VFTA_WORDS = 128,
    E1000_WUC = 0x5800,
    E1000_WUFC = 0x5808,
    E1000_WUS = 0x5810,
    E1000_MANC = 0x5820,
};

/* Statistics (§3.3). */
enum {
    E1000_STATISTICS = 0x4000,
    E1000_STATISTICS_WORDS = 64,
    E1000_MPC = 0x4010,
    E1000_RLEC = 0x4040,
    E1000_PRC64 = 0x405c, /* then 127, 255, 511, 1023, 1522 */
    E1000_GPRC = 0x4074,
    E1000_BPRC = 0x4078,
    E1000_MPRC = 0x407c,
    E1000_GPTC = 0x4080,
    E1000_GORCL = 0x4088,
    E1000_GORCH = 0x408c,
    E1000_GOTCL = 0x4090,
    E1000_GOTCH = 0x4094,
    E1000_RNBC = 0x40a0,
    E1000_RUC = 0x40a4,
    E1000_ROC = 0x40ac,
    E1000_TORL = 0x40c0,
    E1000_TORH = 0x40c4,
    E1000_TOTL = 0x40c8,
    E1000_TOTH = 0x40cc,
    E1000_TPR = 0x40d0,
    E1000_TPT = 0x40d4,
    E1000_PTC64 = 0x40d8, /* then 127, 255, 511, 1023, 1522 */
    E1000_MPTC = 0x40f0,
    E1000_BPTC = 0x40f4,
    E1000_TSCTC = 0x40f8,
    E1000_TSCTFC = 0x40fc,
};

#define CTRL_SLU     (UINT32_C(1) << 6)
#define CTRL_SWDPIN2 (UINT32_C(1) << 20) /* 82543: MDIO */
#define CTRL_SWDPIN3 (UINT32_C(1) << 21) /* 82543: MDC */
#define CTRL_SWDPIO2 (UINT32_C(1) << 24) /* 82543: MDIO is driven by software */
#define CTRL_RST     (UINT32_C(1) << 26)
#define CTRL_VME     (UINT32_C(1) << 30)
#define CTRL_PHY_RST (UINT32_C(1) << 31)

#define STATUS_LU (UINT32_C(1) << 1)

#define EECD_SK   (UINT32_C(1) << 0)
#define EECD_CS   (UINT32_C(1) << 1)
#define EECD_DI   (UINT32_C(1) << 2)
#define EECD_DO   (UINT32_C(1) << 3)
#define EECD_FWE  (UINT32_C(3) << 4)
#define EECD_REQ  (UINT32_C(1) << 6)
#define EECD_GNT  (UINT32_C(1) << 7)
#define EECD_PRES (UINT32_C(1) << 8)

#define EERD_START (UINT32_C(1) << 0)
#define EERD_DONE  (UINT32_C(1) << 4)

#define MDIC_WRITE      (UINT32_C(1) << 26)
#define MDIC_READ       (UINT32_C(2) << 26)
#define MDIC_READY      (UINT32_C(1) << 28)
#define MDIC_INT_ENABLE (UINT32_C(1) << 29)
#define MDIC_ERROR      (UINT32_C(1) << 30)

/* ICR, ICS, IMS, IMC (§6) */
#define IRQ_TXDW   (UINT32_C(1) << 0)
#define IRQ_TXQE   (UINT32_C(1) << 1)
#define IRQ_LSC    (UINT32_C(1) << 2)
#define IRQ_RXDMT0 (UINT32_C(1) << 4)
#define IRQ_RXO    (UINT32_C(1) << 6)
#define IRQ_RXT0   (UINT32_C(1) << 7)
#define IRQ_MDAC   (UINT32_C(1) << 9)

#define RCTL_EN          (UINT32_C(1) << 1)
#define RCTL_SBP         (UINT32_C(1) << 2)
#define RCTL_UPE         (UINT32_C(1) << 3)
#define RCTL_MPE         (UINT32_C(1) << 4)
#define RCTL_LPE         (UINT32_C(1) << 5)
#define RCTL_LBM_SHIFT   6
#define RCTL_RDMTS_SHIFT 8
#define RCTL_MO_SHIFT    12
#define RCTL_BAM         (UINT32_C(1) << 15)
#define RCTL_BSIZE_SHIFT 16
#define RCTL_VFE         (UINT32_C(1) << 18)
#define RCTL_BSEX        (UINT32_C(1) << 25)
#define RCTL_SECRC       (UINT32_C(1) << 26)

#define TCTL_EN  (UINT32_C(1) << 1)
#define TCTL_PSP (UINT32_C(1) << 3)

#define RDTR_FPD (UINT32_C(1) << 31)
#define RAH_AV   (UINT32_C(1) << 31)

#define RXCSUM_PCSS  UINT32_C(0xff)
#define RXCSUM_IPOFL (UINT32_C(1) << 8)
#define RXCSUM_TUOFL (UINT32_C(1) << 9)

/* Descriptors: 16 bytes each (§7.1, §8.3). */
enum {
    DESC_BYTES = 16,
    DESC_STATUS_AT = 12,
    RXD_LENGTH_AT = 8,
    RXD_CHECKSUM_AT = 10,
    RXD_ERRORS_AT = 13,
    RXD_SPECIAL_AT = 14,

    RXD_STATUS_DD = 0x01,
    RXD_STATUS_EOP = 0x02,
    RXD_STATUS_IXSM = 0x04,
    RXD_STATUS_VP = 0x08,
    RXD_STATUS_TCPCS = 0x20,
    RXD_STATUS_IPCS = 0x40,
    RXD_ERROR_TCPE = 0x20,
    RXD_ERROR_IPE = 0x40,

    TXD_STATUS_DD = 0x01,
    TXD_CMD_EOP = 0x01,
    TXD_CMD_IFCS = 0x02,
    TXD_CMD_IC = 0x04,  /* legacy */
    TXD_CMD_TSE = 0x04, /* data and context */
    TXD_CMD_RS = 0x08,
    TXD_CMD_RPS = 0x10,
    TXD_CMD_DEXT = 0x20,
    TXD_CMD_VLE = 0x40,
    TXD_CMD_IDE = 0x80,
    TXD_TUCMD_TCP = 0x01, /* context */
    TXD_TUCMD_IP = 0x02,  /* context: IPv4 */
    TXD_DTYP_CONTEXT = 0,
    TXD_DTYP_DATA = 1,
    TXD_POPTS_IXSM = 0x01,
    TXD_POPTS_TXSM = 0x02,
};

#endif
